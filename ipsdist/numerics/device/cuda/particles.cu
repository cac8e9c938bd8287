// Particles: steps and moves, deposits, extents, initial positions. Twins of device/step.py, device/deposit.py and
// particles/initial.py, equal to them bit for bit.
//
// D: 1, 2 or 3. REAL: float or double, what positions are kept in; all arithmetic is in double. NODES: 1 if the counters
// of a step lie in shared memory (4 bytes a node). FIELD: 1 if the drift lies there too, before them.
// Every entry is right for any grid and block of one axis.

#include "arithmetic.cuh"

#define REAL_IS_float 1
#define REAL_IS_double 0
#define JOINED(a, b) a##b
#define REAL_IS(type) JOINED(REAL_IS_, type)
#if REAL_IS(REAL)
typedef float DRIFT;
#else
typedef double DRIFT;
#endif

#include "stepping.cuh"
#include "deposits.cuh"
#include "drawing.cuh"

template <class Place, class Field, class Count>
DEVICE void step_all(REAL* x, u64 n, u64 first, const Noise& noise, const float* table, const Place& place,
                     const Field& field, const Motion& motion, const Count& count, u32* counter, u64* sums, u64* lost) {
    const u64 numbers = n * D, groups = (numbers + GROUP - 1) / GROUP, stride = (u64)gridDim.x * blockDim.x;
    const u32 most = CARRY / (CROWD * blockDim.x);
    const bool vectors = aligned(x);
    u32 left = 0, off = 0, rounds = 0;
    // The rounds are those of the block, not of the thread: all its threads meet at the barriers.
    for (u64 start = (u64)blockIdx.x * blockDim.x; start < groups; start += stride) {
        const u64 g = start + threadIdx.x;
        if (g < groups)
            step_group(x + g * GROUP, numbers - g * GROUP, vectors, first + g * GROUP, noise, table, place,
                       field, motion, count, left, off);
        if (counter && ++rounds == most) {
            carry(counter, place.mesh.nodes, 1u << 31, sums);
            rounds = 0;
        }
    }
    if (counter) carry(counter, place.mesh.nodes, 1, sums);
    if (left) atomicAdd(lost, (u64)left);
    if (off) atomicAdd(lost + 1, (u64)off);
}

extern "C" __global__ void __launch_bounds__(1024)
step(REAL* __restrict__ x, u64 n, const DRIFT* __restrict__ drift, MESH, double dt, double scale,
     const float* __restrict__ table, u64 first, u32 number, u32 stream, u32 low, u32 high, u64* count, u64* lost) {
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ float rows[TABLE];
    const Mesh mesh = THE_MESH;
    const Noise noise = {number, stream, low, high};
    const Motion motion = {dt, scale};
    DRIFT* held = reinterpret_cast<DRIFT*>(memory);
    #if FIELD
    for (u32 k = threadIdx.x; k < mesh.nodes; k += blockDim.x)
        for (int a = 0; a < D; ++a) held[D * k + a] = __ldg(drift + (u64)a * mesh.nodes + k);
    const Packed field = {held};
    #else
    const Spread field = {drift, mesh.nodes};
    #endif
    #if NODES
    u32* counter = reinterpret_cast<u32*>(held + (FIELD ? (u64)D * mesh.nodes : 0));
    for (u32 k = threadIdx.x; k < mesh.nodes; k += blockDim.x) counter[k] = 0;
    const Shared counts = {counter};
    #else
    u32* counter = 0;
    const Global counts = {count};
    #endif
    fetch_table(rows, table);
    if (Near::serves(mesh))
        step_all(x, n, first, noise, rows, Near(mesh), field, motion, counts, counter, count, lost);
    else
        step_all(x, n, first, noise, rows, Anywhere(mesh), field, motion, counts, counter, count, lost);
}

// Move by a drift of every number (n, D).
extern "C" __global__ void __launch_bounds__(1024)
move(REAL* __restrict__ x, u64 n, const double* __restrict__ drift, double dt, double scale,
     const float* __restrict__ table, u64 first, u32 number, u32 stream, u32 low, u32 high) {
    __shared__ float rows[TABLE];
    fetch_table(rows, table);
    const Noise noise = {number, stream, low, high};
    const Motion motion = {dt, scale};
    const u64 numbers = n * D, blocks = (numbers + 3) / 4, stride = (u64)gridDim.x * blockDim.x;
    for (u64 b = (u64)blockIdx.x * blockDim.x + threadIdx.x; b < blocks; b += stride) {
        u32 word[4];
        philox(first / 4 + b, noise, word);
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            const u64 q = 4 * b + i;
            if (q < numbers) x[q] = moved(x[q], __ldg(drift + q), normal(word[i], rows), motion);
        }
    }
}
