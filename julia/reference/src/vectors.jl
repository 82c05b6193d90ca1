# Vectors of the CPU, so that sums can stay in its registers.

const Lanes{N,T} = NTuple{N,VecElement{T}}

@inline vload(::Type{Lanes{N,T}}, p::Ptr{T}) where {N,T} = unsafe_load(Ptr{Lanes{N,T}}(p))
@inline vstore!(p::Ptr{T}, v::Lanes{N,T}) where {N,T} = unsafe_store!(Ptr{Lanes{N,T}}(p), v)
@inline splat(::Type{Lanes{N,T}}, x::T) where {N,T} = ntuple(_ -> VecElement(x), Val(N))

for (N, T) in ((16, Float32), (8, Float32), (8, Float64), (4, Float64))
    L, intrinsic = Lanes{N,T}, "llvm.fmuladd.v$(N)f$(8 * sizeof(T))"
    @eval @inline vmuladd(a::$L, b::$L, c::$L) =
        ccall($intrinsic, llvmcall, $L, ($L, $L, $L), a, b, c)
end

@generated vsum(v::Lanes{N}) where {N} = :(+($((:(v[$i].value) for i in 1:N)...)))

"Lanes of the widest vectors worth using: 64 bytes where the CPU has AVX-512, else 32."
lanes(::Type{T}) where {T} = Val((WIDE[] ? 64 : 32) ÷ sizeof(T))

const WIDE = Ref(false)

has_avx512() =
    Sys.ARCH == :x86_64 && Sys.islinux() &&
    occursin(r"\bavx512f\b", Base.read("/proc/cpuinfo", String))
