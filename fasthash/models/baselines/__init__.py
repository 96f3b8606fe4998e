"""Methods with few parameters, and published shallow methods for comparisons.

- ``cca_itq``: canonical correlations and a learned rotation, for pairs.
- ``single_view``: transformers of scikit-learn for one kind of features; they share
  ``_linear_transformer``.
- ``scm``, ``dch`` (from labels), ``cmfh``, ``cvh`` (from pairs): each named after its paper, in its
  published form. What is not from the paper is in the notes of its class. ``_paired`` has what they
  share.
"""

__all__: list[str] = []
