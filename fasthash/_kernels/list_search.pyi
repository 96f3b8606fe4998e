"""Cython functions only; other kernels cimport them."""
