// What model/cuda_source.py writes formulas with. Needs WORK (float | double) and FAST (0 | 1, for float alone).
//
// double: one rounding an operation, the order of numba's code for the same formula, so the same bits where only
// + - * / and square roots occur. FAST takes the approximations of the special function unit (about 1e-6 relative).
#define INLINE __device__ __forceinline__

namespace formula {

typedef WORK real;

INLINE double add(double a, double b) { return __dadd_rn(a, b); }
INLINE double subtract(double a, double b) { return __dsub_rn(a, b); }
INLINE double multiply(double a, double b) { return __dmul_rn(a, b); }
INLINE double multiply_add(double a, double b, double c) { return add(multiply(a, b), c); }
INLINE double divide(double a, double b) { return __ddiv_rn(a, b); }
INLINE double sqrt(double x) { return __dsqrt_rn(x); }
INLINE double exp(double x) { return ::exp(x); }
INLINE double log(double x) { return ::log(x); }
INLINE double sin(double x) { return ::sin(x); }
INLINE double cos(double x) { return ::cos(x); }
INLINE double abs(double x) { return ::fabs(x); }
INLINE double real_power(double x, double p) { return ::pow(x, p); }

INLINE float add(float a, float b) { return __fadd_rn(a, b); }
INLINE float subtract(float a, float b) { return __fsub_rn(a, b); }
INLINE float multiply(float a, float b) { return __fmul_rn(a, b); }
INLINE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
INLINE float abs(float x) { return ::fabsf(x); }
#if FAST && defined(__CUDA_ARCH__)
INLINE float reciprocal_root(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
INLINE float sqrt(float x) {
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
INLINE float divide(float a, float b) {
    float y;
    asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
INLINE float exp(float x) { return __expf(x); }
INLINE float log(float x) { return __logf(x); }
INLINE float sin(float x) { return __sinf(x); }
INLINE float cos(float x) { return __cosf(x); }
INLINE float real_power(float x, float p) { return __powf(x, p); }
#else
INLINE float sqrt(float x) { return __fsqrt_rn(x); }
INLINE float divide(float a, float b) { return __fdiv_rn(a, b); }
INLINE float reciprocal_root(float x) { return divide(1.0f, sqrt(x)); }
INLINE float exp(float x) { return ::expf(x); }
INLINE float log(float x) { return ::logf(x); }
INLINE float sin(float x) { return ::sinf(x); }
INLINE float cos(float x) { return ::cosf(x); }
INLINE float real_power(float x, float p) { return ::powf(x, p); }
#endif

INLINE real max(real a, real b) { return b > a ? b : a; }
INLINE real sign(real x) { return x > real(0) ? real(1) : x < real(0) ? real(-1) : x; }

// x**N by squares from the low bit on, as numba takes it; a negative power is one division.
template <int N> INLINE real power(real x) {
    real result = real(1);
    bool one = true;
#pragma unroll
    for (int bits = N < 0 ? -N : N; bits; bits >>= 1) {
        if (bits & 1) { result = one ? x : multiply(result, x); one = false; }
        if (bits >> 1) x = multiply(x, x);
    }
    return N < 0 ? divide(real(1), result) : result;
}

// x**(N / 2), N odd: whole powers times one root.
template <int N> INLINE real root_power(real x) {
#if FAST
    if (N < 0) return power<-N>(reciprocal_root(x));
#endif
    const int whole = (N < 0 ? -N : N) / 2;
    const real result = whole ? multiply(power<whole>(x), sqrt(x)) : sqrt(x);
    return N < 0 ? divide(real(1), result) : result;
}

INLINE real phi(real r);  // of one kernel: whoever compiles this text appends it

// phi(r) / r from the square of r; 0 at r = 0, where two particles exert no force on each other. The approximations take
// what is below the smallest normal number for 0, and so must this.
INLINE real ratio(real square) {
#if FAST
    const real inverse = reciprocal_root(square);
    const real value = multiply(phi(multiply(square, inverse)), inverse);
    return square >= 1.17549435e-38f ? value : real(0);
#else
    const real r = sqrt(square);
    return r > real(0) ? divide(phi(r), r) : real(0);
#endif
}

// phi(|z|) z / |z| on a line, where no root is needed; 0 at 0.
INLINE real signed_phi(real z) {
    const real value = phi(abs(z));
    return z > real(0) ? value : z < real(0) ? -value : real(0);
}

}  // namespace formula
