/* Forks a process in which another library may have run threads, and says what the child may do. */
#include "fork.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int foreign_region(void);

static int run(int n_threads)
{
    int n = 0;
    #pragma omp parallel num_threads(n_threads) reduction(+ : n)
    n += 1;
    return n;
}

int main(int n_arguments, char **arguments)
{
    if (fh_watch_forks(0) != 0)
        return 1;
    if (n_arguments > 1 && atoi(arguments[1]))
        foreign_region();
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        const int n_threads = fh_has_one_thread() ? 1 : 2;
        const int n = run(n_threads);
        puts(n == 2 ? "child on several threads" : "child on one thread");
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status != 0)
        puts("child hangs");
    return run(2) == 2 && status == 0 ? 0 : 1;
}
