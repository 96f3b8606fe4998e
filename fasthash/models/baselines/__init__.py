"""Published shallow methods, for comparisons, in their published form.

``_paired`` reads features and stores what a method has learned; each other module holds one method,
named after its paper. What is not from the paper is in the notes of its class.
"""

__all__: list[str] = []
