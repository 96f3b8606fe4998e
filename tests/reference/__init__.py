"""Slow twins of the kernels, written for reading: they say what is right, the tests compare.

Same names and signatures as the fast functions, plain loops, nothing imported from the rest of the
library. Only sizes that a person would check by hand are meant for them.
"""
