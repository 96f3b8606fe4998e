"""Page table entries for the large pages of a mapped file that the system has in memory.

At the first use of a page of a mapping, the processor stops for a page fault, some microseconds. A
search in tables reads a few bytes at many places, so its first queries have some 50 faults each.
Where the system keeps a file in pages of 2 MiB, one fault maps 2 MiB.
"""

from libc.stdint cimport int64_t, uint8_t

cdef extern from *:
    """
    #include <stdint.h>

    #if defined(__linux__)
    #include <sys/mman.h>
    #include <unistd.h>

    /* mincore() tells whether a page is in memory. A page may be marked, so that reading it makes
     * the system read more of the file from the disk, except where it expects no order. Returns the
     * number of pages that were read. */
    static int64_t fh_map_cached(const uint8_t *memory, int64_t n_bytes)
    {
        const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), large_page = (uintptr_t)1 << 21;
        const uintptr_t end = (uintptr_t)memory + (uintptr_t)n_bytes;
        const uintptr_t start = (uintptr_t)memory / page * page;
        uintptr_t at = start;
        int64_t n_read = 0;
        if (madvise((void *)start, end - start, MADV_RANDOM) != 0)
            return 0;
        for (; at < end; at = at / large_page * large_page + large_page) {
            unsigned char is_cached = 0;
            if (mincore((void *)at, page, &is_cached) == 0 && (is_cached & 1)) {
                (void)*(const volatile uint8_t *)at;
                n_read++;
            }
        }
        (void)madvise((void *)start, end - start, MADV_NORMAL);
        return n_read;
    }
    #else
    static int64_t fh_map_cached(const uint8_t *memory, int64_t n_bytes)
    {
        (void)memory;
        (void)n_bytes;
        return 0;
    }
    #endif
    """
    int64_t fh_map_cached(const uint8_t *memory, int64_t n_bytes) nogil


def map_cached(const uint8_t[::1] memory):
    """Read a byte of each 2 MiB of a mapped file, if that byte is in memory; return how many.

    On systems other than Linux it reads none. Linux tells only a process that owns the file or may
    write to it what is in memory; any other process would read from the disk.
    """
    cdef int64_t n_read = 0
    if memory.shape[0] > 0:
        with nogil:
            n_read = fh_map_cached(&memory[0], memory.shape[0])
    return n_read
