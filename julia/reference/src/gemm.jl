# Matrix products on parts of larger arrays, without a wrapper object for each of them.

const LIBBLAS = isdefined(BLAS, :libblastrampoline) ? BLAS.libblastrampoline : BLAS.libblas

for (name, T) in ((:sgemm_, :Float32), (:dgemm_, :Float64))
    @eval begin
        """
            gemm!(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)

        `C <- alpha op(A) op(B) + beta C` on pointers to column-major memory, as in BLAS:
        op(A) is m x k, op(B) is k x n. The caller keeps the arrays alive.
        """
        function gemm!(
            ta::Char, tb::Char, m::Int, n::Int, k::Int, alpha::$T, a::Ptr{$T}, lda::Int,
            b::Ptr{$T}, ldb::Int, beta::$T, c::Ptr{$T}, ldc::Int,
        )
            ccall(
                (BLAS.@blasfunc($name), LIBBLAS), Cvoid,
                (
                    Ref{UInt8}, Ref{UInt8}, Ref{BlasInt}, Ref{BlasInt}, Ref{BlasInt}, Ref{$T},
                    Ptr{$T}, Ref{BlasInt}, Ptr{$T}, Ref{BlasInt}, Ref{$T}, Ptr{$T}, Ref{BlasInt},
                    Clong, Clong,
                ),
                ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1, 1,
            )
        end
    end
end
