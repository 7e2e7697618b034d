// table.cpp - the table of inner loops of one instruction set.
#include "loops.h"

#define KN_JOIN(a, b) a##b
#define KN_NAME(isa) KN_JOIN(inner_loops_, isa)
#define KN_TEXT(isa) #isa
#define KN_STRING(isa) KN_TEXT(isa)

namespace kn {

using namespace KN_ISA;

template <class W>
static constexpr TypedLoops<W> typed_loops = {
    KN_ISA::matmul<W>,        KN_ISA::prepare_x<W>,      KN_ISA::x_bytes<W>,
    KN_ISA::attention<W, 64>, KN_ISA::attention<W, 128>, KN_ISA::rmsnorm<W>,
};

extern const InnerLoops KN_NAME(KN_ISA) = {
    KN_STRING(KN_ISA), typed_loops<uint16_t>, typed_loops<float>, KN_ISA::add,        KN_ISA::mul,
    KN_ISA::silu,      KN_ISA::silu_mul,      KN_ISA::rotate,     KN_ISA::round_bf16, KN_ISA::argmax,
    KN_ISA::sum_exp,   KN_ISA::exp_shifted,   KN_ISA::philox,     KN_ISA::sum,
};

}  // namespace kn
