/* Preloaded into one process: its clocks, moved by what a file says at this moment (tests/faults/shifted_clock.py).
 *
 * Two numbers of 64 bits stand in the file, in nanoseconds: what is added to the wall clock, and what is added to the
 * monotonic clock. CLOCK_BOOTTIME stays as it is: a monotonic clock that is behind it has slept. Waits that name an
 * instant of a moved clock are moved back before the kernel sees them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WALL, MONOTONIC, CLOCKS };
#define NANOS 1000000000LL

static const volatile int64_t *offsets;
static const volatile int64_t none[CLOCKS];
static int (*real_gettime)(clockid_t, struct timespec *);

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("FAULTS_CLOCK");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  void *found = file < 0 ? MAP_FAILED : mmap(NULL, CLOCKS * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (file >= 0) close(file);
  real_gettime = (int (*)(clockid_t, struct timespec *))next("clock_gettime");
  offsets = found == MAP_FAILED ? none : found;
}

static int64_t offset_of(clockid_t clock) {
  if (offsets == NULL) return 0;
  switch (clock) {
    case CLOCK_REALTIME: case CLOCK_REALTIME_COARSE: return offsets[WALL];
    case CLOCK_MONOTONIC: case CLOCK_MONOTONIC_COARSE: case CLOCK_MONOTONIC_RAW: return offsets[MONOTONIC];
    default: return 0;
  }
}

static struct timespec moved(struct timespec at, int64_t by) {
  int64_t nanos = at.tv_nsec + by % NANOS;
  at.tv_sec += by / NANOS + (nanos >= NANOS) - (nanos < 0);
  at.tv_nsec = nanos + (nanos < 0) * NANOS - (nanos >= NANOS) * NANOS;
  if (at.tv_sec < 0) at.tv_sec = at.tv_nsec = 0;
  return at;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  int failed = real_gettime == NULL ? (int)syscall(SYS_clock_gettime, clock, at) : real_gettime(clock, at);
  if (!failed) *at = moved(*at, offset_of(clock));
  return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at != NULL) *at = now.tv_sec;
  return now.tv_sec;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
  static int (*real)(clockid_t, int, const struct timespec *, struct timespec *);
  if (real == NULL) real = (int (*)(clockid_t, int, const struct timespec *, struct timespec *))next("clock_nanosleep");
  struct timespec at = flags & TIMER_ABSTIME ? moved(*until, -offset_of(clock)) : *until;
  return real(clock, flags, &at, left);
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
  static int (*real)(sem_t *, clockid_t, const struct timespec *);
  if (real == NULL) real = (int (*)(sem_t *, clockid_t, const struct timespec *))next("sem_clockwait");
  struct timespec at = moved(*until, -offset_of(clock));
  return real(semaphore, clock, &at);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  static int (*real)(sem_t *, const struct timespec *);
  if (real == NULL) real = (int (*)(sem_t *, const struct timespec *))next("sem_timedwait");
  struct timespec at = moved(*until, -offset_of(CLOCK_REALTIME));
  return real(semaphore, &at);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until) {
  static int (*real)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
  if (real == NULL) real = (int (*)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *))next("pthread_cond_clockwait");
  struct timespec at = moved(*until, -offset_of(clock));
  return real(condition, mutex, clock, &at);
}

/* The condition knows its clock and does not tell. Thirty years lie between the two. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
  static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (real == NULL) {
    void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"); /* x86-64 has an older one, too */
    real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))(found != NULL ? found : next("pthread_cond_timedwait"));
  }
  clockid_t clock = until->tv_sec < NANOS ? CLOCK_MONOTONIC : CLOCK_REALTIME;
  struct timespec at = moved(*until, -offset_of(clock));
  return real(condition, mutex, &at);
}
