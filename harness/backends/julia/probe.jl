# Says as lines "key=value" what this Julia is and which packages it can resolve, loading none.
# Flushed line by line: the last thing it does kills a Julia with a wrong libunwind.
using Libdl

say(key, value) = (println(key, '=', value); flush(stdout))

say("version", VERSION)
say("bindir", Sys.BINDIR)
is_libjulia(path) = occursin(r"^libjulia(-debug)?\.", basename(path))
say("libjulia", abspath(first(filter(is_libjulia, Libdl.dllist()))))
say("system_image", abspath(Sys.BINDIR, unsafe_string(Base.JLOptions().image_file)))
say("llvm", Base.libllvm_version)
say("project", something(Base.active_project(), ""))

# Knet's own dependencies need not be those of the project.
knet = Base.identify_package("Knet")
for name in ARGS
    id = Base.identify_package(name)
    id === nothing && knet !== nothing && (id = Base.identify_package(knet, name))
    path = id === nothing ? nothing : Base.locate_package(id)
    path === nothing || say("package." * name, path)
end

# Only frames that Julia compiled at run time need libunwind: hence functions.
thrower(n) = n > 0 ? error("thrown to be caught") : n
caught(n) = try thrower(n) catch; true end
say("exceptions", caught(length(ARGS)))
