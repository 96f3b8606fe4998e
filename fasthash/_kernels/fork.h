/* What a fork does to the threads of OpenMP.
 *
 * GNU's runtime, libgomp, keeps the threads of a parallel region for the next one. A fork does not
 * copy them, so the next region in the child would wait for them without end. It does not matter who
 * ran the first region: every user of the same libgomp in the process shares its threads. So before
 * every fork the runtime is asked to end the threads that belong to the forking thread. Parent and
 * child both make new ones when they next run in parallel.
 *
 * The function that does so, omp_pause_resource_all, came with OpenMP 5.0 (GCC 9). It is looked up in
 * the library that serves this module, because a build may meet an older one at run time. Where it is
 * missing, the child of a process that had other threads runs on one thread. LLVM's runtime, libomp,
 * resets itself in a child and is left alone. Windows cannot fork. A child of a fork that happened
 * before this module was loaded may have lost threads already; then it runs on one thread, too.
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

/* omp_pause_hard, which older headers do not name. */
enum { FH_PAUSE_HARD = 2 };

typedef int (*fh_pause_function)(int kind);

static fh_pause_function fh_pause = NULL;
/* Whether a child of the fork that this thread is about to make may not start threads. */
static _Thread_local int fh_child_is_alone = 0;
static int fh_alone = 0;

/* Whether the process has more threads than the calling one; yes, where nobody can tell. */
static inline int fh_has_other_threads(void)
{
    struct stat tasks;
    /* A folder has a link for each folder in it, here one per thread, and two of its own. */
    return stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink != 3;
}

static void fh_before_fork(void)
{
    /* A thread inside a parallel region cannot end the others of its team. */
    fh_child_is_alone = fh_pause != NULL ? fh_pause(FH_PAUSE_HARD) != 0 : fh_has_other_threads();
}

static void fh_after_fork_in_child(void) { fh_alone |= fh_child_is_alone; }

/* To be called once, when the module is imported; says whether a fork before may have lost threads.
 * Returns 0, or an error number of pthread_atfork. */
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
    fh_alone = may_have_lost_threads;
    return pthread_atfork(fh_before_fork, NULL, fh_after_fork_in_child);
}

/* Whether this process is a child that may not start threads. */
static inline int fh_runs_alone(void) { return fh_alone; }

#else

static inline int fh_watch_forks(int may_have_lost_threads)
{
    (void)may_have_lost_threads;
    return 0;
}
static inline int fh_runs_alone(void) { return 0; }

#endif

#endif
