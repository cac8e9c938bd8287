// Sums of 64 bits at the nodes: in global memory, or in the shared memory of a block, where cards add 32 bits natively.
// There a sum is two halves, and who adds to the low one sees in what was there before whether it overflowed. So no sum
// is ever too large for its halves, and no block need stop to empty them. All add modulo 2**64, in any order.
//
// Sums come in lines of one number a node. Shared memory holds some lines, `first` and those behind it; a launch leaves
// the others to other launches. An addition has two parts, so that a thread can begin several before it waits for what
// was there: `begin` returns that, and `end` looks at it.

// Add what is left of an amount whose low half was added to what was `before`.
DEVICE void add_rest(u32* high, u64 amount, u32 before) {
    const u32 rest = (u32)(amount >> 32) + (before + (u32)amount < before);
    if (rest) atomicAdd(high, rest);
}

// Add to a sum both halves of which are near.
DEVICE void add_halves(u32* low, u32* high, u64 amount) { add_rest(high, amount, atomicAdd(low, (u32)amount)); }

// Which lines a block holds.
struct Lines {
    u32 first, number;
    // Where line k lies among them; not below `number` if it is not there. k is known when this is compiled.
    DEVICE u32 place(int k) const { return (u32)k - first; }
    DEVICE bool holds(int k) const { return place(k) < number; }
};

// Clear so many words of shared memory; ends with a barrier.
DEVICE void clear(u32* words, u32 number) {
    for (u32 i = threadIdx.x; i < number; i += blockDim.x) words[i] = 0;
    __syncthreads();
}

// --- weights (line 0) and products of weights (line 1 + k: those of offset k), each below 2**32 --------------------

struct Weights {
    u64 *count, *products;
    int nodes;
    DEVICE u64* line(int k) const { return k ? products + (i64)(k - 1) * nodes : count; }
};

struct GlobalWeights {
    Weights all;
    DEVICE u32 begin(int k, int node, u32 amount) const {
        if (amount) atomicAdd(all.line(k) + node, (u64)amount);
        return 0;
    }
    DEVICE void end(int, int, u32, u32) const {}
};

// Low halves near, a word a node; what overflows is added to the global sums at once: products are below 2**30 in
// truth, and those of a particle sum to 0.17 * 2**32 on a line, 0.28 in the plane and 0.35 in space on average.
struct SharedWeights {
    Weights all;
    Lines lines;
    u32* low;
    DEVICE u32 begin(int k, int node, u32 amount) const {
        return lines.holds(k) ? atomicAdd(low + (lines.place(k) * (u32)all.nodes + node), amount) : 0;
    }
    DEVICE void end(int k, int node, u32 amount, u32 before) const {
        if (before + amount < before) atomicAdd(all.line(k) + node, (u64)1 << 32);
    }
    // Add what is near to the global sums; begins with a barrier.
    DEVICE void give() const {
        __syncthreads();
        for (u32 j = 0; j < lines.number; ++j) {
            u64* line = all.line((int)(lines.first + j));
            const u32* here = low + j * (u32)all.nodes;
            for (int k = threadIdx.x; k < all.nodes; k += blockDim.x) if (here[k]) atomicAdd(line + k, (u64)here[k]);
        }
    }
};

// --- flux: a line an axis, any integers modulo 2**64 ---------------------------------------------------------------

struct GlobalFlux {
    u64* flux;
    int nodes;
    DEVICE bool holds(int) const { return true; }
    DEVICE bool begins() const { return true; }
    DEVICE u32 begin(int axis, int node, u64 amount) const {
        if (amount) atomicAdd(flux + ((i64)axis * nodes + node), amount);
        return 0;
    }
    DEVICE void end(int, int, u64, u32) const {}
};

// Both halves near: the low ones of a line, then its high ones, so that a line takes two words a node.
struct SharedFlux {
    GlobalFlux all;
    Lines lines;
    u32* halves;
    DEVICE bool holds(int axis) const { return lines.holds(axis); }
    DEVICE bool begins() const { return lines.first == 0; }
    DEVICE u32* low(int axis, int node) const { return halves + (2 * lines.place(axis) * (u32)all.nodes + node); }
    DEVICE u32 begin(int axis, int node, u64 amount) const { return atomicAdd(low(axis, node), (u32)amount); }
    DEVICE void end(int axis, int node, u64 amount, u32 before) const {
        add_rest(low(axis, node) + all.nodes, amount, before);
    }
    // Add what is near to the global sums; begins with a barrier.
    DEVICE void give() const {
        __syncthreads();
        for (u32 j = 0; j < lines.number; ++j) {
            const u32 *near = halves + 2 * j * (u32)all.nodes, *high = near + all.nodes;
            for (int k = threadIdx.x; k < all.nodes; k += blockDim.x)
                all.begin((int)(lines.first + j), k, (u64)high[k] << 32 | near[k]);
        }
    }
};
