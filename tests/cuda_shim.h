// What CUDA text needs to be compiled by a C++ compiler and run on the host: see host_device.py.
//
// A block runs as one thread or as a few real ones, blocks one after the other. Not a simulator of a GPU: it checks
// arithmetic, indices and (with a few threads) barriers and atomics, and knows what the texts of this package use.
#pragma once
#include <algorithm>
#include <climits>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <limits>
#include <mutex>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

using std::max;
using std::min;
using std::isfinite;
using std::isnan;

struct dim3 { unsigned int x, y, z; };
static thread_local dim3 threadIdx = {0, 0, 0};
static dim3 blockIdx = {0, 0, 0}, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};

// --- a block ------------------------------------------------------------------------------------------------------

static const unsigned int shim_shared_bytes = 1u << 20;
alignas(128) static unsigned char shim_shared[shim_shared_bytes];
static const unsigned char shim_garbage = 0xA5;

static std::mutex shim_mutex;
static std::condition_variable shim_everyone;
static unsigned int shim_asked;
static bool shim_atomic_beyond;
static unsigned int shim_running, shim_waiting, shim_round;

static void shim_pass() { shim_waiting = 0; ++shim_round; shim_everyone.notify_all(); }

static void __syncthreads() {
    if (blockDim.x == 1) return;
    std::unique_lock<std::mutex> lock(shim_mutex);
    const unsigned int round = shim_round;
    if (++shim_waiting == shim_running) { shim_pass(); return; }
    shim_everyone.wait(lock, [round] { return shim_round != round; });
}

extern "C" void shim_block(unsigned int block, unsigned int blocks, unsigned int threads, unsigned int shared) {
    shim_asked = shared; shim_atomic_beyond = false;
    blockIdx.x = block; gridDim.x = blocks; blockDim.x = threads;
    shim_running = threads; shim_waiting = 0;
    std::memset(shim_shared, shim_garbage, shim_shared_bytes);
}
extern "C" void shim_enter(unsigned int thread) { threadIdx.x = thread; }
extern "C" void shim_leave() {
    std::unique_lock<std::mutex> lock(shim_mutex);
    --shim_running;
    if (shim_running && shim_waiting == shim_running) shim_pass();
}
// Whether somebody wrote beyond the shared memory that was asked for, or added to it, be it 0.
extern "C" int shim_beyond() {
    for (unsigned int i = shim_asked; i < shim_shared_bytes; ++i) if (shim_shared[i] != shim_garbage) return 1;
    return shim_atomic_beyond;
}
template <class T> static inline T* shim_reached(T* x) {
    const unsigned char* at = reinterpret_cast<const unsigned char*>(x);
    if (at + sizeof(T) > shim_shared + shim_asked && at < shim_shared + shim_shared_bytes && at >= shim_shared)
        shim_atomic_beyond = true;
    return x;
}

// --- what the arguments of a kernel are: P for a pointer, then kind and bytes as in NumPy -------------------------

template <class T> void shim_type(char*& out) {
    typedef typename std::remove_cv<typename std::remove_pointer<T>::type>::type V;
    if (std::is_pointer<T>::value) *out++ = 'P';
    const char kind = std::is_floating_point<V>::value ? 'f' : std::is_signed<V>::value ? 'i' : 'u';
    out += std::sprintf(out, "%c%d ", kind, (int)sizeof(V));
}
template <class... A> void shim_describe(void (*)(A...), char* out) { *out = 0; (shim_type<A>(out), ...); }

// --- vectors ------------------------------------------------------------------------------------------------------

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) uint2 { unsigned int x, y; };
struct alignas(16) uint4 { unsigned int x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }

// --- arithmetic: the compiler must not contract (-ffp-contract=off) -----------------------------------------------

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return std::sqrt(a); }
static inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static inline double __dadd_rn(double a, double b) { return a + b; }
// Rounded down: the sum to nearest, and what it is too large by, exact (Knuth's two-sum).
static inline double __dadd_rd(double a, double b) {
    const double sum = a + b, part = sum - a, error = (a - (sum - part)) + (b - part);
    return error < 0 ? std::nextafter(sum, -HUGE_VAL) : sum;
}
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return std::sqrt(a); }
static inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
static inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
static inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }

template <class To, class From> static inline To shim_cast(From x) { To y; static_assert(sizeof x == sizeof y, ""); std::memcpy(&y, &x, sizeof y); return y; }
static inline unsigned int __float_as_uint(float x) { return shim_cast<unsigned int>(x); }
static inline float __uint_as_float(unsigned int x) { return shim_cast<float>(x); }
static inline int __float_as_int(float x) { return shim_cast<int>(x); }
static inline float __int_as_float(int x) { return shim_cast<float>(x); }
static inline long long __double_as_longlong(double x) { return shim_cast<long long>(x); }
static inline double __longlong_as_double(long long x) { return shim_cast<double>(x); }
static inline int __double2loint(double x) { return (int)__double_as_longlong(x); }
static inline int __double2hiint(double x) { return (int)(__double_as_longlong(x) >> 32); }
static inline double __hiloint2double(int high, int low) {
    return __longlong_as_double((long long)(((unsigned long long)(unsigned int)high << 32) | (unsigned int)low));
}
static inline unsigned int __umulhi(unsigned int a, unsigned int b) { return (unsigned int)((unsigned long long)a * b >> 32); }

// Conversions saturate, as on a GPU; NaN becomes 0 here, and no text may lean on what it becomes.
template <class I> static inline I shim_integer(double x) {
    if (!(x == x)) return 0;
    if (x <= (double)std::numeric_limits<I>::min()) return std::numeric_limits<I>::min();
    if (x >= (double)std::numeric_limits<I>::max()) return std::numeric_limits<I>::max();
    return (I)x;
}
static inline int __double2int_rd(double x) { return shim_integer<int>(std::floor(x)); }
static inline int __double2int_rn(double x) { return shim_integer<int>(std::rint(x)); }
static inline int __double2int_rz(double x) { return shim_integer<int>(x); }
static inline unsigned int __double2uint_rz(double x) { return shim_integer<unsigned int>(x); }
static inline long long __double2ll_rd(double x) { return shim_integer<long long>(std::floor(x)); }
static inline long long __double2ll_rn(double x) { return shim_integer<long long>(std::rint(x)); }
static inline long long __double2ll_rz(double x) { return shim_integer<long long>(x); }
static inline int __float2int_rd(float x) { return shim_integer<int>(std::floor(x)); }
static inline int __float2int_rn(float x) { return shim_integer<int>(std::rint(x)); }
static inline int __float2int_rz(float x) { return shim_integer<int>(x); }
static inline double __int2double_rn(int x) { return (double)x; }
static inline double __uint2double_rn(unsigned int x) { return (double)x; }
static inline double __ll2double_rn(long long x) { return (double)x; }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned int x) { return (float)x; }
static inline float __double2float_rn(double x) { return (float)x; }

// --- memory -------------------------------------------------------------------------------------------------------

template <class T> static inline T __ldg(const T* x) { return *x; }
template <class T> static inline T __ldcs(const T* x) { return *x; }
template <class T> static inline void __stcs(T* x, T value) { *x = value; }

template <class T> static inline T shim_fetch(T* x, T value, T (*join)(T, T)) {
    T old = __atomic_load_n(x, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(x, &old, join(old, value), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return old;
}
#define SHIM_ATOMICS(T) \
    static inline T atomicAdd(T* x, T v) { return __atomic_fetch_add(shim_reached(x), v, __ATOMIC_RELAXED); } \
    static inline T atomicMin(T* x, T v) { return shim_fetch<T>(x, v, [](T a, T b) { return a < b ? a : b; }); } \
    static inline T atomicMax(T* x, T v) { return shim_fetch<T>(x, v, [](T a, T b) { return a < b ? b : a; }); }
SHIM_ATOMICS(int)
SHIM_ATOMICS(unsigned int)
SHIM_ATOMICS(long long)
SHIM_ATOMICS(unsigned long long)
