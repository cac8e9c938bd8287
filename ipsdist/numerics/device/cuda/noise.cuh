// Philox4x32-10 (Salmon et al. 2011) and its normals and uniforms: twin of particles/noise.py, which explains them.

#define ROWS 257
#define TABLE (4 * ROWS)

// Who the numbers are for: all but the block of the counter, and the key.
struct Noise { u32 number, stream, low, high; };

// The four words of a block of a stream at a step.
DEVICE void philox(u64 block, const Noise& noise, u32 (&word)[4]) {
    u32 c0 = (u32)block, c1 = (u32)(block >> 32), c2 = noise.number, c3 = noise.stream;
    u32 k0 = noise.low, k1 = noise.high;
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 p0 = (u64)c0 * 0xD2511F53u, p1 = (u64)c2 * 0xCD9E8D57u;
        c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
        c1 = (u32)p1;
        c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c3 = (u32)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0; word[1] = c1; word[2] = c2; word[3] = c3;
}

// noise.NORMAL_TABLE (4, ROWS) in shared memory, one coefficient after the other: half of the words meet eight rows, so
// four loads of 4 bytes have fewer bank conflicts than one of 16 (7.1 and 8.4 clocks a warp). Behind it lies 2**23.
struct Table {
    const float* rows;
    u32 exponent;
};

// The normal of a word.
DEVICE float normal(u32 word, const Table& table) {
    const u32 bits = __float_as_uint(add((float)(int)(word & 0x7FFFFFFFu), 0.5f));
    const float* row = table.rows + ((int)(bits >> 20) - (126 << 3));
    // The low 20 bits as a float32: beside the exponent of 2**23 they are the integer by which it is larger. That the
    // exponent comes from memory makes one instruction of the two operations.
    const float t = sub(__uint_as_float((bits & 0xFFFFFu) | table.exponent), 8388608.0f);
    const float upper = add(mul(row[3 * ROWS], t), row[2 * ROWS]);
    const float value = add(mul(add(mul(upper, t), row[ROWS]), t), row[0]);
    return __uint_as_float(__float_as_uint(value) ^ (word & 0x80000000u));
}

DEVICE double uniform(u32 word) { return mul(add((double)word, 0.5), 1.0 / 4294967296.0); }

// Copy the table into `rows` (TABLE + 1) of the shared memory of the block. Ends with a barrier.
DEVICE Table fetch_table(float* rows, const float* __restrict__ table) {
    for (u32 i = threadIdx.x; i < TABLE; i += blockDim.x) rows[i] = __ldg(table + i);
    if (threadIdx.x == 0) rows[TABLE] = 8388608.0f;
    __syncthreads();
    return {rows, __float_as_uint(rows[TABLE])};
}
