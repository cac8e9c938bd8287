// Particles: steps and moves, deposits, extents, initial positions. Twins of device/step.py, device/deposit.py and
// particles/initial.py, equal to them bit for bit.
//
// D: 1, 2 or 3. REAL: float or double, what positions are kept in; all arithmetic is in double. NODES: 1 if the
// counters of a step lie in shared memory (4 bytes a node). FIELD: 1 if the drift lies there too, before them.
// STEP_ALONE: all but the step is left out, for those who compile it once more, for another mesh.
// PACKED (without FIELD): 1 if the drift of a step is given as (nodes, PITCH), 2 numbers a node in the plane and 4 in
// space, the last of them of no use; else it is (d, nodes).
// Every entry is right for any grid and block of one axis; a step in space with PACKED for blocks of up to 512 threads
// where counters lie in shared memory, of up to 256 where they do not.

#ifndef PACKED
#define PACKED 0
#endif

#include "stepping.cuh"
#ifndef STEP_ALONE
#include "sums.cuh"
#include "deposits.cuh"
#include "drawing.cuh"
#endif

// All particles, a group a thread, with counters `carried` in shared memory or none.
template <bool CARRIED, class Place, class Field, class Count>
DEVICE void step_all(REAL* x, u64 n, u64 first, const Noise& noise, const Table& table, const Place& place,
                     const Field& field, const Motion& motion, const Count& count, const Lost& lost, u32* carried,
                     u64* sums) {
    const i64 stride = (i64)gridDim.x * blockDim.x;
    const u64 g = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    const bool vectors = aligned(x);
    const u32 most = CARRY / (CROWD * blockDim.x);
    u32 rounds = 0;
    u64 words = (D == 3 ? first : first / 4) + g * WORDS_A_STEP;
    i64 size = (i64)(n * D - g * GROUP);
    x += g * GROUP;
    // All threads of a block go round alike, the last ones with nothing to do: they meet at the barriers.
    while (size + (i64)threadIdx.x * GROUP > 0) {
        step_group(x, size, vectors, words, noise, table, place, field, motion, count, lost);
        if (CARRIED && ++rounds == most) {
            carry(carried, place.mesh.nodes, 1u << 31, sums);
            rounds = 0;
        }
        x += stride * GROUP;
        size -= stride * GROUP;
        words += stride * WORDS_A_STEP;
    }
    if (CARRIED) carry(carried, place.mesh.nodes, 1, sums);
}

// In space with PACKED a particle has eight loads of 16 bytes under way, for which threads need more registers than 64.
#if PACKED && D == 3
#define STEP_BOUNDS __launch_bounds__(NODES ? 512 : 256, NODES ? 1 : 3)
#else
#define STEP_BOUNDS __launch_bounds__(1024)
#endif

extern "C" __global__ void STEP_BOUNDS
step(REAL* __restrict__ x, u64 n, const DRIFT* __restrict__ drift, MESH, double dt, double scale,
     const float* __restrict__ table, u64 first, u32 number, u32 stream, u32 low, u32 high, u64* count, u64* lost) {
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ float rows[TABLE + 1];
    __shared__ u32 gone[2];
    const Mesh mesh = THE_MESH;
    const Noise noise = {number, stream, low, high};
    const Motion motion = {dt, scale};
    #if FIELD
    DRIFT* held = reinterpret_cast<DRIFT*>(memory);
    for (int a = 0; a < D; ++a) {
        const DRIFT* along = drift + (i64)a * mesh.nodes;
        for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) held[D * k + a] = __ldg(along + k);
    }
    const Packed field = {held};
    #elif PACKED
    const Joined field = {drift};
    #else
    const Spread field = {drift};
    #endif
    #if NODES
    // The counters lie behind the drift, and are numbered from its beginning.
    const int shift = FIELD ? D * (sizeof(DRIFT) / sizeof(u32)) * mesh.nodes : 0;
    u32* numbered = reinterpret_cast<u32*>(memory);
    u32* counter = numbered + shift;
    for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) counter[k] = 0;
    const Shared counts = {numbered};
    #else
    const int shift = 0;
    u32* counter = 0;
    const Global counts = {count};
    #endif
    if (threadIdx.x == 0) gone[0] = gone[1] = 0;
    const Lost losses = {gone};
    const Table normals = fetch_table(rows, table);
    if (Near::serves(mesh))
        step_all<NODES>(x, n, first, noise, normals, Near(mesh, shift), field, motion, counts, losses, counter, count);
    else
        step_all<NODES>(x, n, first, noise, normals, Anywhere(mesh, shift), field, motion, counts, losses, counter,
                        count);
    __syncthreads();
    for (int i = threadIdx.x; i < 2; i += blockDim.x) if (gone[i]) atomicAdd(lost + i, (u64)gone[i]);
}

#ifndef STEP_ALONE

// A drift (d, nodes) node by node, as a step takes it with PACKED: (nodes, PITCH). The last number of four is 0.
extern "C" __global__ void
pack(const DRIFT* __restrict__ drift, u64 nodes, DRIFT* __restrict__ packed) {
    for EVERY(k, nodes) {
        Node node;
        #pragma unroll
        for (int a = 0; a < PITCH; ++a) node.part[a] = a < D ? __ldg(drift + a * nodes + k) : (DRIFT)0;
        reinterpret_cast<Node*>(packed)[k] = node;
    }
}

// Move by a drift of every number (n, D).
extern "C" __global__ void __launch_bounds__(1024)
move(REAL* __restrict__ x, u64 n, const double* __restrict__ drift, double dt, double scale,
     const float* __restrict__ table, u64 first, u32 number, u32 stream, u32 low, u32 high) {
    __shared__ float rows[TABLE + 1];
    const Table normals = fetch_table(rows, table);
    const Noise noise = {number, stream, low, high};
    const Motion motion = {dt, scale};
    const u64 numbers = n * D, blocks = (numbers + 3) / 4, stride = (u64)gridDim.x * blockDim.x;
    for (u64 b = (u64)blockIdx.x * blockDim.x + threadIdx.x; b < blocks; b += stride) {
        u32 word[4];
        philox(first / 4 + b, noise, word);
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            const u64 q = 4 * b + i;
            if (q < numbers) x[q] = moved(x[q], __ldg(drift + q), normal(word[i], normals), motion);
        }
    }
}

#endif
