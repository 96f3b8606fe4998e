"""Pages that consist of one HTML file.

``templates`` renders the templates of the folder ``templates``, ``charts`` draws charts, and
``pictures`` reads pictures of a folder and embeds them. ``report`` makes the report on models, and
``duplicates`` the page of near-duplicates; ``demo`` runs the demonstration, ``demo_page`` makes its
page, and ``demo_search`` packs what the page needs to answer typed words.
"""
