/* In place of dispatch.c: every level there is code for, whatever the processor has. */
#include "simd.h"

int fh_supported_levels(const fh_level **levels)
{
    const fh_level *all[] = {fh_level_scalar(), fh_level_avx2(), fh_level_avx512bw(),
                             fh_level_avx512(), fh_level_neon()};
    int n = 0;
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] != NULL)
            levels[n++] = all[i];
    return n;
}
