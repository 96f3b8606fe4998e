/* Finds the instruction-set levels that this machine can run, and holds the one in use.
 *
 * A level is supported if the processor has the instructions (CPUID) and the operating system saves
 * the registers that they use (XCR0). Without the second, a kernel would end with SIGILL.
 */
#include "simd.h"

#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(int leaf, int subleaf, int registers[4]) { __cpuidex(registers, leaf, subleaf); }
static uint64_t read_xcr0(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(int leaf, int subleaf, int registers[4])
{
    __cpuid_count(leaf, subleaf, registers[0], registers[1], registers[2], registers[3]);
}
static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}
#endif

enum { EAX, EBX, ECX, EDX };

static int has_bit(int value, int bit) { return (int)(((unsigned)value >> bit) & 1u); }

/* The features that the levels need, from CPUID and XCR0. */
typedef struct {
    int avx2, avx512bw, avx512_vpopcntdq;
} Features;

static Features find_features(void)
{
    Features features = {0, 0, 0};
    int r[4];
    cpuid(0, 0, r);
    if (r[EAX] < 7)
        return features;
    cpuid(1, 0, r);
    const int popcnt = has_bit(r[ECX], 23), has_xgetbv = has_bit(r[ECX], 27);
    const int avx = has_bit(r[ECX], 28);
    if (!popcnt || !has_xgetbv || !avx)
        return features;
    cpuid(7, 0, r);
    const uint64_t saved = read_xcr0();
    /* Bits of XCR0: XMM and YMM; with AVX-512 also the opmasks and both halves of the ZMM state. */
    const uint64_t ymm_state = 0x06, zmm_state = 0xe6;
    const int bmi = has_bit(r[EBX], 3) && has_bit(r[EBX], 8);
    const int f = has_bit(r[EBX], 16), bw = has_bit(r[EBX], 30), vl = has_bit(r[EBX], 31);
    features.avx2 = has_bit(r[EBX], 5) && (saved & ymm_state) == ymm_state;
    features.avx512bw = features.avx2 && f && bw && (saved & zmm_state) == zmm_state;
    const int vbmi = has_bit(r[ECX], 1), vpopcntdq = has_bit(r[ECX], 14);
    features.avx512_vpopcntdq = features.avx512bw && bmi && vl && vbmi && vpopcntdq;
    return features;
}

#endif

int fh_supported_levels(const fh_level **levels)
{
    int n = 0;
    levels[n++] = fh_level_scalar();
#if defined(__x86_64__) || defined(_M_X64)
    const Features features = find_features();
    if (features.avx2)
        levels[n++] = fh_level_avx2();
    if (features.avx512bw)
        levels[n++] = fh_level_avx512bw();
    if (features.avx512_vpopcntdq)
        levels[n++] = fh_level_avx512();
#endif
    /* Every AArch64 processor has NEON. */
    if (fh_level_neon() != NULL)
        levels[n++] = fh_level_neon();
    return n;
}

/* Set while tiles.pyx is imported, and by tests; read by every kernel. */
static const fh_level *active = NULL;

const fh_level *fh_active_level(void)
{
    if (active == NULL) {
        const fh_level *levels[FH_LEVELS_MAX];
        active = levels[fh_supported_levels(levels) - 1];
    }
    return active;
}

int fh_use_level(const char *name)
{
    const fh_level *levels[FH_LEVELS_MAX] = {NULL};
    const int n = fh_supported_levels(levels);
    for (int i = 0; i < n; i++) {
        if (strcmp(levels[i]->name, name) == 0) {
            active = levels[i];
            return 0;
        }
    }
    return -1;
}
