"""The commands of the command line, one module for each; the library does the work.

A module has two functions: `declare` describes the command and its options, and `run` executes it
with the parsed options and a `Printer`. The commands share these modules: ``arguments`` has types
of arguments and configuration files, ``inputs`` reads the arrays, samples and codes that options
name, ``codes`` reads codes that other programs wrote, ``outputs`` decides which files may be
written, ``locking`` lets one command change an index at a time, ``fingerprints`` tells which model
made codes, ``streams`` reads queries of standard input, and ``printing`` writes to the terminal.
"""
