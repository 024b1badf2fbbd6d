// A libnvrtc that compiles kernels for the processor: g++ with shim.h makes a library of them, whose bytes
// are the "cubin". Entry points are found by the text extern "C" __global__.
//
// FAKE_NVRTC_ERROR=1, or fakeNVRTCSet("error", 1), makes every compilation fail.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <string>
#include <vector>
#include "launch.h"

#ifndef FAKE_DIR
#error "define FAKE_DIR, the folder of shim.h"
#endif
#define API extern "C" __attribute__((visibility("default")))

extern char **environ;

enum { OK = 0, OUT_OF_MEMORY = 1, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6 };

struct Program { std::string text, name, log, image; };

static int failing = getenv("FAKE_NVRTC_ERROR") ? atoi(getenv("FAKE_NVRTC_ERROR")) : 0;
static const int archs[] = {75, 80, 86, 89, 90, 100, 120};

API void fakeNVRTCSet(const char *name, long long value) {
    if (!strcmp(name, "error")) failing = (int)value;
}

API int nvrtcVersion(int *major, int *minor) { return *major = 12, *minor = 9, OK; }
API int nvrtcGetNumSupportedArchs(int *n) { return *n = sizeof archs / sizeof *archs, OK; }
API int nvrtcGetSupportedArchs(int *list) { return memcpy(list, archs, sizeof archs), OK; }

API const char *nvrtcGetErrorString(int result) {
    switch (result) {
    case OK: return "NVRTC_SUCCESS";
    case OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
    case INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILATION: return "NVRTC_ERROR_COMPILATION";
    }
    return "NVRTC_ERROR unknown";
}

API int nvrtcCreateProgram(Program **p, const char *text, const char *name, int headers, const char *const *,
                           const char *const *) {
    if (!text || headers != 0) return INVALID_INPUT;
    *p = new Program{text, name ? name : "default_program", "", ""};
    return OK;
}

API int nvrtcDestroyProgram(Program **p) { return delete *p, *p = nullptr, OK; }

// entries lists the kernels' names in a text.
static std::vector<std::string> entries(const std::string &text) {
    std::vector<std::string> names;
    const std::string mark = "extern \"C\" __global__", bounds = "__launch_bounds__";
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
        at += mark.size();
        size_t open = text.find('(', at);
        if (text.compare(open - bounds.size(), bounds.size(), bounds) == 0) open = text.find('(', text.find(')', open));
        if (open == std::string::npos) break;
        size_t end = text.find_last_not_of(" \n", open - 1) + 1;
        size_t from = text.find_last_of(" \n)", end - 1) + 1;
        names.push_back(text.substr(from, end - from));
        at = open;
    }
    return names;
}

static std::string source(const Program &p) {
    std::string out = "#include \"" FAKE_DIR "/shim.h\"\n#line 1 \"" + p.name + "\"\n" + p.text + "\n";
    out += "#define API extern \"C\" __attribute__((visibility(\"default\")))\nAPI const bz_entry *bz_entries() {\n"
           "static const bz_entry list[] = {\n";
    for (const std::string &name : entries(p.text))
        out += "{\"" + name + "\", bz_letters(" + name + "), [](void **args) { bz_unpack(" + name + ", args); }},\n";
    return out + "{}};\nreturn list;\n}\nAPI int bz_launch_run(bz_launch *l, unsigned n) { return bz_run(l, n); }\n";
}

static bool read(const std::string &path, std::string *into) {
    FILE *f = fopen(path.c_str(), "rb");
    if (!f) return false;
    char buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;) into->append(buffer, n);
    return fclose(f) == 0;
}

static bool write(const std::string &path, const std::string &bytes) {
    FILE *f = fopen(path.c_str(), "wb");
    if (!f) return false;
    bool ok = fwrite(bytes.data(), 1, bytes.size(), f) == bytes.size();
    return fclose(f) == 0 && ok;
}

static int run(std::vector<std::string> args, const std::string &log) {
    std::vector<char *> argv;
    for (std::string &a : args) argv.push_back(&a[0]);
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 2, log.c_str(), 0x241 /* write, create, truncate */, 0600);
    pid_t pid;
    int status = -1, failed = posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed) return 127;
    while (waitpid(pid, &status, 0) < 0) {}
    return status;
}

static std::vector<std::string> compileArgs() {
    // Odd addresses of vectors and indices outside of arrays call handlers in fibers.h; so libubsan is not linked.
    std::vector<std::string> args = {"g++", "-c", "-std=c++17", "-O2", "-fPIC", "-w", "-fvisibility=hidden", "-fno-gnu-unique",
                                     "-ffp-contract=off", "-fno-strict-aliasing", "-fsanitize=alignment,bounds",
                                     "-fno-sanitize-recover=all"};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) args.push_back("-march=x86-64-v3");
#endif
    return args;
}

static int build(Program *p, const std::vector<std::string> &defines) {
    char dir[] = "/tmp/fake-nvrtc-XXXXXX";
    if (!mkdtemp(dir)) return OUT_OF_MEMORY;
    std::string base = dir, in = base + "/k.cc", object = base + "/k.o", out = base + "/k.so", log = base + "/log", library;
    std::vector<std::string> args = compileArgs();
    args.insert(args.end(), {"-o", object, in});
    args.insert(args.end(), defines.begin(), defines.end());
    bool ok = write(in, source(*p)) && run(args, log) == 0 && run({"g++", "-shared", "-o", out, object}, log) == 0;
    ok = ok && read(out, &library);
    read(log, &p->log);
    if (!ok && p->log.empty()) p->log = "g++ cannot be run: install g++";
    for (const std::string &file : {in, object, out, log}) unlink(file.c_str());
    rmdir(dir);
    if (!ok) return COMPILATION;
    bz_image head = {BZ_MAGIC, library.size()};
    p->image.assign((const char *)&head, sizeof head);
    p->image += library;
    return OK;
}

static bool supported(const std::string &arch) {
    size_t at = arch.find('_');
    int number = at == std::string::npos ? 0 : atoi(arch.c_str() + at + 1);
    for (int a : archs)
        if (a == number) return true;
    return false;
}

API int nvrtcCompileProgram(Program *p, int n, const char *const *options) {
    if (!p) return INVALID_PROGRAM;
    std::vector<std::string> defines;
    for (int i = 0; i < n; i++) {
        std::string o = options[i], key = o.substr(0, o.find('='));
        bool known = key == "--std" || key == "-std" || key == "--use_fast_math" || key == "-use_fast_math" || key == "--fmad" ||
                     key == "-fmad" || key == "-lineinfo" || key == "--generate-line-info" || key == "-default-device" ||
                     key == "--device-as-default-execution-space" || key == "--extra-device-vectorization" ||
                     key == "--restrict" || key == "--maxrregcount" || key == "--ptxas-options" || key == "-Xptxas";
        if (key == "--gpu-architecture" || key == "-arch") known = supported(o.substr(key.size()));
        if (o.compare(0, 2, "-D") == 0) defines.push_back(o), known = true;
        if (known) continue;
        p->log = "nvrtc: error: invalid value for an option, or an unknown one: " + o + "\n";
        return INVALID_OPTION;
    }
    if (!failing) return build(p, defines);
    p->log = p->name + "(1): error: the fake compiler was told to fail\n";
    return COMPILATION;
}

API int nvrtcGetProgramLogSize(Program *p, size_t *n) { return *n = p->log.size() + 1, OK; }
API int nvrtcGetProgramLog(Program *p, char *to) { return memcpy(to, p->log.c_str(), p->log.size() + 1), OK; }
API int nvrtcGetCUBINSize(Program *p, size_t *n) { return *n = p->image.size(), OK; }
API int nvrtcGetCUBIN(Program *p, char *to) { return memcpy(to, p->image.data(), p->image.size()), OK; }
API int nvrtcGetPTXSize(Program *p, size_t *n) { return nvrtcGetCUBINSize(p, n); }
API int nvrtcGetPTX(Program *p, char *to) { return nvrtcGetCUBIN(p, to); }
