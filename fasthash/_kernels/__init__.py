"""Compiled kernels: Cython orchestrates tiles and threads, the C files in simd/ do the bit work.

Kernels trust their callers: every array is C-contiguous and of the stated type and shape, every
number in range. The public modules one level up validate; nothing else should call these.
"""
