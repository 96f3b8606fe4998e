# A capsule; fasthash.h says what it holds.
TABLE: object
