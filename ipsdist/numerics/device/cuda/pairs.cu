// Exact pair sums of one kernel phi: sum_j phi(|z|) z / |z|, z = x_i - y_j; the twin of numerics/device/pairs.py.
//
// Needs D (1, 2, 3), REAL (float | double: what positions are kept in), WORK (float | double: what pairs are computed
// in), FAST (0 | 1) and TILE (sources of a tile, a multiple of 4); formula::phi is appended. WORK double adds one source
// after the other, each operation rounded once: the bits of numba. WORK float adds the sums of tiles in double.
#include "formulas.cuh"

typedef unsigned long long u64;

// out (n, D) = (out + the sums of targets x (n, D) over sources y (m, D)) * scale. Shared memory: D * TILE * WORK.
// Any grid: a block takes its targets a blockful at a time, and all of it reads every tile.
extern "C" __global__ void pairs(const REAL* __restrict__ x, u64 n, const REAL* __restrict__ y, u64 m, double scale,
                                 double* __restrict__ out) {
    using namespace formula;
    extern __shared__ __align__(16) WORK tile[];
    for (u64 first = (u64)blockIdx.x * blockDim.x; first < n; first += (u64)gridDim.x * blockDim.x) {
        const u64 i = first + threadIdx.x;
        const bool mine = i < n;
        WORK target[D];
        double sum[D];
#pragma unroll
        for (int a = 0; a < D; ++a) {
            target[a] = mine ? (WORK)x[i * D + a] : WORK(0);
            sum[a] = mine ? out[i * D + a] : 0.0;
        }
        for (u64 start = 0; start < m; start += TILE) {
            const int size = m - start < TILE ? (int)(m - start) : TILE;
            __syncthreads();  // all have read the tile before
            for (int k = threadIdx.x; k < size; k += blockDim.x)
#pragma unroll
                for (int a = 0; a < D; ++a) tile[a * TILE + k] = (WORK)y[(start + k) * D + a];
            __syncthreads();
            // One accumulator either way; a tile of floats begins at 0 and is added to the doubles at its end.
            WORK part[D];
#pragma unroll
            for (int a = 0; a < D; ++a) part[a] = sizeof(WORK) == 8 ? (WORK)sum[a] : WORK(0);
#pragma unroll (sizeof(WORK) == 4 ? 8 : 4)
            for (int k = 0; k < size; ++k) {
#if FAST && D == 1
                part[0] = add(part[0], signed_phi(subtract(target[0], tile[k])));
#else
                WORK z[D], square = WORK(0);
#pragma unroll
                for (int a = 0; a < D; ++a) {
                    z[a] = subtract(target[a], tile[a * TILE + k]);
                    square = a ? multiply_add(z[a], z[a], square) : multiply(z[a], z[a]);
                }
                const WORK factor = ratio(square);
#pragma unroll
                for (int a = 0; a < D; ++a) part[a] = multiply_add(factor, z[a], part[a]);
#endif
            }
#pragma unroll
            for (int a = 0; a < D; ++a) sum[a] = sizeof(WORK) == 8 ? (double)part[a] : __dadd_rn(sum[a], (double)part[a]);
        }
#pragma unroll
        for (int a = 0; a < D; ++a)
            if (mine) out[i * D + a] = __dmul_rn(sum[a], scale);
    }
}
