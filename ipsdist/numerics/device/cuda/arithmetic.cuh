// Numbers: one rounding an operation, never contracted, so that the bits are those of Numba without fastmath.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__

DEVICE float mul(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
DEVICE float sub(float a, float b) { return __fsub_rn(a, b); }
DEVICE double mul(double a, double b) { return __dmul_rn(a, b); }
DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
DEVICE double sub(double a, double b) { return __dsub_rn(a, b); }

// Adding 1.5 * 2**52, rounded down, leaves floor(q) in the low bits of the sum if |q| < 2**51. That takes two additions
// where rounding and conversion to an integer take two slow instructions (16 a clock and multiprocessor).
#define FLOOR_ONE 6755399441055744.0
DEVICE double floored(double q) { return __dadd_rd(q, FLOOR_ONE); }

// floor(y) of 0 <= y < 2**31.
DEVICE u32 whole(double y) { return (u32)__double2loint(floored(y)); }
