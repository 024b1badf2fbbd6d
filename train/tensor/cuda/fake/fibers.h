// Blocks of threads on the processor: the scheduler beneath shim.h.
#pragma once
#define _GLIBCXX_INCLUDE_NEXT_C_HEADERS // the C headers alone: the C++ ones take most of the compile time
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <link.h>
#include <sys/mman.h>
#include "launch.h"

enum { BZ_THREADS = 1024, BZ_STACK = 64 << 10, BZ_CANARY = 64, BZ_GUARD = 256, BZ_SHARED = 228 << 10,
       BZ_COPIES = 256 };

struct bz_copy { void *to; const void *from; unsigned bytes, fill; int group; };

struct bz_fiber;

struct bz_warp {
    unsigned alive, arrived, mask;
    const char *op;
    void (*finish)(void **lanes);
    void *lanes[32];
    bz_fiber *who[32];
};

struct bz_fiber {
    void *sp;
    uint3 thread;
    unsigned index, lane;
    bz_warp *warp;
    const char *waits; // what for, if it does
    int group, copies; // of asynchronous copies
    bz_copy copy[BZ_COPIES];
};

struct bz_worker {
    bz_worker *next_free;
    char *stacks;
    char *dynamic; // shared memory, with a guard behind it
    void *main_sp;
    struct bz_launch *launch;
    uint3 block;
    unsigned threads, started, done, fibers;
    unsigned waiting;
    bz_fiber *barrier[BZ_THREADS];
    int votes[3]; // of the barrier: how many are true, and the result's count and number of threads
    unsigned ready_from, ready_to;
    bz_fiber *ready[BZ_THREADS];
    unsigned idle;
    bz_fiber *idles[BZ_THREADS];
    bz_warp warp[BZ_THREADS / 32];
    bz_fiber fiber[BZ_THREADS];
    unsigned char *tls;
    size_t tls_bytes;
    bool failed;
};

static thread_local bz_worker *bz_me;
static thread_local bz_fiber *bz_now;

extern "C" void bz_switch(void **from, void *to) __attribute__((visibility("hidden")));
#if defined(__x86_64__)
asm(".text\n.hidden bz_switch\n.type bz_switch,@function\nbz_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n.size bz_switch,.-bz_switch\n");
static void *bz_prepare(char *top, void (*start)()) {
    void **sp = (void **)top - 1; // as after a call: a function finds it 8 below a multiple of 16
    *--sp = (void *)start;
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    return sp;
}
#elif defined(__aarch64__)
asm(".text\n.hidden bz_switch\n.type bz_switch,%function\nbz_switch:\n"
    "sub sp,sp,#160\nstp x19,x20,[sp]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\n"
    "stp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\n"
    "stp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\nmov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"
    "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\n"
    "ldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\nadd sp,sp,#160\nret\n.size bz_switch,.-bz_switch\n");
static void *bz_prepare(char *top, void (*start)()) {
    void **sp = (void **)top - 20;
    memset(sp, 0, 160);
    sp[11] = (void *)start;
    return sp;
}
#else
#error "the shim switches fibers on amd64 and arm64 only"
#endif

// bz_next takes a fiber that can run. In order 1 it is the last that became so: a warp runs as far as it can before others
// begin, so that a barrier that is missing shows.
static bz_fiber *bz_next(bz_worker *w) {
    return w->launch->order == 1 ? w->ready[--w->ready_to % BZ_THREADS] : w->ready[w->ready_from++ % BZ_THREADS];
}

// bz_resume leaves the fiber that runs, if any, for the next that can run, or for the worker's loop.
static __attribute__((noinline)) void bz_resume(void **from) {
    bz_worker *w = bz_me;
    if (w->ready_from != w->ready_to) {
        bz_now = bz_next(w);
        if (from != &bz_now->sp) bz_switch(from, bz_now->sp);
        return;
    }
    bz_switch(from, w->main_sp);
}

static void bz_report(bz_worker *w, uint3 t, const char *format, va_list list) {
    bz_launch *l = w->launch;
    w->failed = true;
    if (__atomic_exchange_n(&l->failed, 1, __ATOMIC_SEQ_CST)) return;
    int n = snprintf(l->message, sizeof l->message, "block (%u,%u,%u), thread (%u,%u,%u): ", w->block.x, w->block.y,
                     w->block.z, t.x, t.y, t.z);
    vsnprintf(l->message + n, sizeof l->message - n, format, list);
}

// bz_fail ends the launch with a message, and does not return.
static __attribute__((noinline, noreturn)) void bz_fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    bz_report(bz_me, bz_now->thread, format, list);
    va_end(list);
    void *lost;
    bz_switch(&lost, bz_me->main_sp);
    __builtin_unreachable();
}

// bz_complain is bz_fail outside of fibers.
static __attribute__((noinline)) void bz_complain(bz_worker *w, uint3 thread, const char *format, ...) {
    va_list list;
    va_start(list, format);
    bz_report(w, thread, format, list);
    va_end(list);
}

// What the compiler calls where code breaks a rule that -fsanitize watches over, in the layout of GCC's libubsan.
struct bz_place { const char *file; unsigned line, column; };
struct bz_type { unsigned short kind, info; char name[1]; };
struct bz_mismatch { bz_place place; const bz_type *type; unsigned char log_alignment, kind; };
struct bz_outside { bz_place place; const bz_type *array, *index; };

extern "C" void __ubsan_handle_type_mismatch_v1_abort(const bz_mismatch *m, unsigned long long address) {
    bz_fail("%s:%u: address %#llx of a %s is not a multiple of %u", m->place.file, m->place.line, address, m->type->name,
            1u << m->log_alignment);
}
extern "C" void __ubsan_handle_out_of_bounds_abort(const bz_outside *o, unsigned long long index) {
    bz_fail("%s:%u: index %lld is outside of %s", o->place.file, o->place.line, (long long)index, o->array->name);
}

static void bz_make_ready(bz_fiber *f) {
    f->waits = nullptr;
    bz_me->ready[bz_me->ready_to++ % BZ_THREADS] = f;
}

// bz_release lets the threads go on that wait at the barrier, if all that are left do.
static void bz_release() {
    bz_worker *w = bz_me;
    if (w->waiting == 0 || w->waiting + w->done != w->threads) return;
    w->votes[1] = w->votes[0], w->votes[2] = w->waiting, w->votes[0] = 0;
    unsigned n = w->waiting;
    w->waiting = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = w->launch->order == 1 ? n - 1 - i : i;
        bz_make_ready(w->barrier[at]);
    }
}

static __attribute__((noinline)) void bz_barrier(int vote) {
    bz_worker *w = bz_me;
    bz_fiber *me = bz_now;
    me->waits = "__syncthreads";
    w->votes[0] += vote != 0;
    w->barrier[w->waiting++] = me;
    bz_release();
    bz_resume(&me->sp);
}

// bz_finish ends an operation of a warp if all lanes of its mask that are left have come.
static bool bz_finish(bz_warp *w, bz_fiber *here) {
    if (w->arrived == 0 || (w->mask & w->alive & ~w->arrived) != 0) return false;
    w->finish(w->lanes);
    for (int lane = 0; lane < 32; lane++) {
        int at = bz_me->launch->order == 1 ? 31 - lane : lane;
        if (w->lanes[at] && w->who[at] != here) bz_make_ready(w->who[at]);
        w->lanes[at] = nullptr;
    }
    w->arrived = 0;
    return true;
}

// bz_collect is an operation of the lanes of mask: each gives what of its own takes part, and goes on when
// finish, called once, has seen all of them; a lane that takes no part is null.
static __attribute__((noinline)) void bz_collect(const char *op, unsigned mask, void *mine, void (*finish)(void **lanes)) {
    bz_fiber *me = bz_now;
    bz_warp *w = me->warp;
    if (!(mask >> me->lane & 1)) bz_fail("%s with a mask %#x without its lane %u", op, mask, me->lane);
    if (w->arrived == 0) w->op = op, w->mask = mask, w->finish = finish;
    if (w->finish != finish || w->mask != mask)
        bz_fail("lanes of one warp meet in %s (mask %#x) and %s (mask %#x)", op, mask, w->op, w->mask);
    w->arrived |= 1u << me->lane;
    w->lanes[me->lane] = mine;
    w->who[me->lane] = me;
    me->waits = w->op;
    if (bz_finish(w, me)) {
        me->waits = nullptr;
        return;
    }
    bz_resume(&me->sp);
}

// bz_start runs threads that were not begun yet, one after the other as long as they wait for nothing.
static void bz_start() {
    for (;;) {
        bz_worker *w = bz_me;
        bz_fiber *f = bz_now;
        while (w->started < w->threads) {
            unsigned i = w->launch->order == 1 ? w->threads - 1 - w->started : w->started;
            w->started++;
            dim3 b = w->launch->block;
            f->index = i, f->lane = i % 32, f->warp = &w->warp[i / 32];
            f->thread = {i % b.x, i / b.x % b.y, i / b.x / b.y};
            f->group = f->copies = 0;
            w->launch->call(w->launch->args);
            w->done++;
            f->warp->alive &= ~(1u << f->lane);
            bz_finish(f->warp, nullptr);
            bz_release();
            if (w->ready_from != w->ready_to) break;
        }
        w->idles[w->idle++] = f;
        bz_resume(&f->sp);
    }
}

static void bz_poison(bz_worker *w) {
    memset(w->dynamic, 0xff, w->launch->dynamic);
    if (w->tls == nullptr) return;
    bz_fiber *now = bz_now;
    memset(w->tls, 0xff, w->tls_bytes);
    bz_me = w, bz_now = now;
}

static void bz_begin(bz_worker *w) {
    bz_poison(w);
    w->started = w->done = w->waiting = w->idle = w->fibers = w->ready_from = w->ready_to = 0;
    w->votes[0] = 0;
    w->failed = false;
    for (unsigned i = 0; i * 32 < w->threads; i++) {
        unsigned lanes = w->threads - i * 32;
        memset(&w->warp[i], 0, sizeof w->warp[i]);
        w->warp[i].alive = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    }
}

static bz_fiber *bz_new_fiber(bz_worker *w) {
    bz_fiber *f = &w->fiber[w->fibers];
    char *stack = w->stacks + (size_t)w->fibers++ * BZ_STACK;
    memset(stack, 0x5a, BZ_CANARY);
    f->waits = nullptr;
    f->sp = bz_prepare(stack + BZ_STACK, bz_start);
    return f;
}

static void bz_stuck(bz_worker *w) {
    for (unsigned i = 0; i < w->fibers; i++) {
        bz_fiber *f = w->fiber + i;
        if (f->waits)
            bz_complain(w, f->thread, "waits for ever in %s; %u of %u threads have ended, %u wait in __syncthreads", f->waits,
                        w->done, w->threads, w->waiting);
    }
}

static bool bz_intact(const char *at, int value, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (at[i] != (char)value) return false;
    return true;
}

static void bz_end(bz_worker *w) {
    if (!bz_intact(w->dynamic + w->launch->dynamic, 0x5a, BZ_GUARD))
        bz_complain(w, {}, "a write past the %u bytes of dynamic shared memory", w->launch->dynamic);
    for (unsigned i = 0; i < w->fibers; i++)
        if (!bz_intact(w->stacks + (size_t)i * BZ_STACK, 0x5a, BZ_CANARY)) bz_complain(w, {}, "a thread's stack overflows");
}

static void bz_block(bz_worker *w) {
    bz_begin(w);
    while (w->done < w->threads && !w->failed) {
        if (w->ready_from != w->ready_to) {
            bz_now = bz_next(w);
        } else if (w->started == w->threads) {
            bz_stuck(w);
            return;
        } else {
            bz_now = w->idle > 0 ? w->idles[--w->idle] : bz_new_fiber(w);
        }
        bz_switch(&w->main_sp, bz_now->sp);
    }
    bz_end(w);
}

// ---------------------------------------------------------------- launches

static pthread_mutex_t bz_lock = PTHREAD_MUTEX_INITIALIZER;
static bz_worker *bz_workers; // that are free

static void *bz_map(size_t bytes) {
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) abort();
    return at;
}

static bz_worker *bz_take_worker() {
    pthread_mutex_lock(&bz_lock);
    bz_worker *w = bz_workers;
    if (w) bz_workers = w->next_free;
    pthread_mutex_unlock(&bz_lock);
    if (w) return w;
    w = (bz_worker *)bz_map(sizeof *w);
    w->stacks = (char *)bz_map((size_t)BZ_THREADS * BZ_STACK);
    w->dynamic = (char *)bz_map(BZ_SHARED + BZ_GUARD);
    return w;
}

static void bz_give_worker(bz_worker *w) {
    pthread_mutex_lock(&bz_lock);
    w->next_free = bz_workers, bz_workers = w;
    pthread_mutex_unlock(&bz_lock);
}

// bz_find_tls finds where this thread's variables of this library are: the shared memory of kernels.
static int bz_find_tls(dl_phdr_info *info, size_t, void *data) {
    bz_worker *w = (bz_worker *)data;
    bool here = false;
    size_t bytes = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) &p = info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + p.p_vaddr, at = (uintptr_t)&bz_lock;
        if (p.p_type == PT_LOAD && at >= from && at < from + p.p_memsz) here = true;
        if (p.p_type == PT_TLS) bytes = p.p_memsz;
    }
    if (here) w->tls = (unsigned char *)info->dlpi_tls_data, w->tls_bytes = bytes;
    return here;
}

static void *bz_work(void *data) {
    bz_launch *l = (bz_launch *)data;
    bz_worker *w = bz_take_worker();
    bz_me = w;
    w->launch = l;
    w->threads = l->block.x * l->block.y * l->block.z;
    memset(w->dynamic + l->dynamic, 0x5a, BZ_GUARD);
    w->tls = nullptr;
    dl_iterate_phdr(bz_find_tls, w);
    unsigned long long blocks = (unsigned long long)l->grid.x * l->grid.y * l->grid.z;
    while (!__atomic_load_n(&l->failed, __ATOMIC_RELAXED)) {
        unsigned long long i = __atomic_fetch_add(&l->next, 1, __ATOMIC_SEQ_CST);
        if (i >= blocks) break;
        if (l->order == 1) i = blocks - 1 - i;
        w->block = {(unsigned)(i % l->grid.x), (unsigned)(i / l->grid.x % l->grid.y), (unsigned)(i / l->grid.x / l->grid.y)};
        bz_block(w);
    }
    bz_give_worker(w);
    return nullptr;
}

// bz_run runs a kernel, blocks shared out among workers, and says in message what failed, if something did.
static int bz_run(bz_launch *l, unsigned workers) {
    unsigned long long blocks = (unsigned long long)l->grid.x * l->grid.y * l->grid.z;
    pthread_t more[16];
    unsigned n = 0;
    while (n < 16 && n + 1 < workers && n + 1 < blocks)
        if (pthread_create(&more[n], nullptr, bz_work, l) == 0) n++;
        else break;
    bz_work(l);
    for (unsigned i = 0; i < n; i++) pthread_join(more[i], nullptr);
    return l->failed;
}

template <unsigned... I> struct bz_indices {};
template <unsigned N, unsigned... I> struct bz_count : bz_count<N - 1, N - 1, I...> {};
template <unsigned... I> struct bz_count<0, I...> { typedef bz_indices<I...> type; };

template <class... A, unsigned... I> void bz_unpack(void (*kernel)(A...), void **args, bz_indices<I...>) {
    kernel(*(A *)args[I]...);
}
template <class... A> void bz_unpack(void (*kernel)(A...), void **args) {
    bz_unpack(kernel, args, typename bz_count<sizeof...(A)>::type());
}

// bz_letter is what an argument is: p a pointer, i and u 32 bits, l and U 64 bits, f and d floating point.
template <class T> struct bz_letter;
template <class T> struct bz_letter<T *> { static const char is = 'p'; };
template <> struct bz_letter<int> { static const char is = 'i'; };
template <> struct bz_letter<unsigned> { static const char is = 'u'; };
template <> struct bz_letter<long long> { static const char is = 'l'; };
template <> struct bz_letter<unsigned long long> { static const char is = 'U'; };
template <> struct bz_letter<float> { static const char is = 'f'; };
template <> struct bz_letter<double> { static const char is = 'd'; };
template <class... A> const char *bz_letters(void (*)(A...)) {
    static const char letters[] = {bz_letter<A>::is..., 0};
    return letters;
}
