"""The commands of the command line, a module each; what they do is done by the library.

A module has two functions: `declare` describes the command and its options, `run` does it with the
parsed options and a `Printer`. What several need: ``arguments``, types of arguments and
configuration files; ``inputs``, arrays, samples and codes that options name; ``printing``, what
goes to the terminal.
"""
