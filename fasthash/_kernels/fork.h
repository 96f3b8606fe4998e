/* Lets parent and child use OpenMP threads after a fork.
 *
 * GNU's runtime, libgomp, keeps the threads of a parallel region for the next one. A fork does not
 * copy them, so the next region in the child would wait for them without end. It does not matter
 * which library ran the first region: all users of the same libgomp in the process share its
 * threads. So before every fork, this file asks the runtime to end the threads that belong to the
 * forking thread. Parent and child both start new ones when they next run in parallel.
 *
 * The function that ends them, omp_pause_resource_all, came with OpenMP 5.0 (GCC 9). It is looked
 * up at run time in the libgomp that this module uses, because that may be older than the one of
 * the build. If it is missing, the child of a process that had other threads runs on one thread.
 * LLVM's runtime, libomp, resets itself in a child, so nothing is done for it. Windows cannot fork.
 * A child of a fork that happened before this module was loaded may have lost threads already; it
 * runs on one thread, too.
 */
#ifndef FASTHASH_FORK_H
#define FASTHASH_FORK_H

#if defined(_OPENMP) && !defined(_WIN32)

#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#ifndef FH_PAUSE_NAME
#define FH_PAUSE_NAME "omp_pause_resource_all"
#endif

/* The value of omp_pause_hard, which older headers do not define. */
enum { FH_PAUSE_HARD = 2 };

typedef int (*fh_pause_function)(int kind);

static fh_pause_function fh_pause = NULL;
/* This thread is about to fork: whether the child may use one thread only. */
static _Thread_local int fh_child_limited = 0;
/* Whether this process may use one thread only. */
static int fh_limited = 0;

/* Whether the process has other threads than the calling one; true if this cannot be found out. */
static inline int fh_has_other_threads(void)
{
    struct stat tasks;
    /* A folder has two links, and one for each folder in it; here there is one folder per
     * thread. */
    return stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink != 3;
}

static void fh_before_fork(void)
{
    /* This fails in a thread that is inside a parallel region. */
    fh_child_limited = fh_pause != NULL ? fh_pause(FH_PAUSE_HARD) != 0 : fh_has_other_threads();
}

static void fh_after_fork_in_child(void) { fh_limited |= fh_child_limited; }

/* Call once, when the module is imported. The argument says whether an earlier fork may have lost
 * threads. Returns 0, or an error number of pthread_atfork. */
static inline int fh_watch_forks(int may_have_lost_threads)
{
    Dl_info runtime;
    int (*known)(void) = omp_get_max_threads;
    void *address;
    memcpy(&address, &known, sizeof address);
    if (dladdr(address, &runtime) != 0 && runtime.dli_fname != NULL) {
        void *library = dlopen(runtime.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        if (library != NULL) {
            /* Every version of LLVM's runtime has this function. */
            if (dlsym(library, "__kmpc_fork_call") != NULL)
                return 0;
            void *found = dlsym(library, FH_PAUSE_NAME);
            memcpy(&fh_pause, &found, sizeof found);
        }
    }
    fh_limited = may_have_lost_threads;
    return pthread_atfork(fh_before_fork, NULL, fh_after_fork_in_child);
}

/* Whether this process is a child that may use one thread only. */
static inline int fh_has_one_thread(void) { return fh_limited; }

#else

static inline int fh_watch_forks(int may_have_lost_threads)
{
    (void)may_have_lost_threads;
    return 0;
}
static inline int fh_has_one_thread(void) { return 0; }

#endif

#endif
