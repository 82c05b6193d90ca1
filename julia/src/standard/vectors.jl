# Vectors of the processor, so that sums can stay in its registers.

const Lanes{N,T} = NTuple{N,VecElement{T}}

@inline vload(::Type{Lanes{N,T}}, p::Ptr{T}) where {N,T} = unsafe_load(Ptr{Lanes{N,T}}(p))
@inline vstore!(p::Ptr{T}, v::Lanes{N,T}) where {N,T} = unsafe_store!(Ptr{Lanes{N,T}}(p), v)
@inline splat(::Type{Lanes{N,T}}, x::T) where {N,T} = ntuple(_ -> VecElement(x), Val(N))

for (N, T, name) in ((16, Float32, "v16f32"), (8, Float32, "v8f32"), (8, Float64, "v8f64"), (4, Float64, "v4f64"))
    L = Lanes{N,T}
    @eval @inline vmuladd(a::$L, b::$L, c::$L) =
        ccall($("llvm.fmuladd.$name"), llvmcall, $L, ($L, $L, $L), a, b, c)
end

@generated vsum(v::Lanes{N}) where {N} = :(+($((:(v[$i].value) for i in 1:N)...)))

"Lanes of the widest vectors worth using: 64 bytes where the processor has AVX-512, else 32."
lanes(::Type{T}) where {T} = Val((WIDE[] ? 64 : 32) ÷ sizeof(T))

const WIDE = Ref(false)

has_avx512() = Sys.islinux() && Sys.ARCH == :x86_64 && occursin(r"\bavx512f\b", Base.read("/proc/cpuinfo", String))
