# In a file of its own: the macro must be known before the line that uses it is read.
using PrecompileTools: @compile_workload

@compile_workload begin
    precompile_workload()
    Idiom.precompile_workload()
end
