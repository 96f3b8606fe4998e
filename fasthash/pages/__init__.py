"""Pages that consist of one HTML file.

``html`` writes tables and charts, and ``pictures`` recognises the formats of pictures. ``report``
makes the report on models, ``demo`` runs the demonstration, and ``demo_page`` makes its page.
"""
