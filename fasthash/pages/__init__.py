"""Pages of one HTML file: ``html`` draws them, ``pictures`` tells pictures by their first bytes;
``report`` is the page on models, ``demo`` the demonstration and ``demo_page`` its page.
"""
