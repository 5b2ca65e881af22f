// Attacks on the dynamic linker's files by a 32-bit process, which has system calls of its own. Without a C library,
// so that it takes no other packages to build: `attack32 create PATH`, `rename FROM TO`, `link FROM TO`, `symlink
// TARGET PATH`, `mkfifo PATH`, `open-for-writing PATH`, `truncate PATH`, `unlink PATH`, `bind FROM TO`. Prints `pid=N`; exits with the error's number.

enum {
    SYS_EXIT = 1, SYS_WRITE = 4, SYS_OPEN = 5, SYS_LINK = 9, SYS_UNLINK = 10, SYS_MKNOD = 14, SYS_GETPID = 20, SYS_MOUNT = 21,
    SYS_RENAME = 38, SYS_SYMLINK = 83, SYS_TRUNCATE = 92
};
enum { O_WRONLY = 1, O_CREAT = 0100, S_IFIFO = 0010000, MS_BIND = 4096 };

static int call(int number, long one, long two, long three)
{
    int result;
    // What only mount has more is its flags.
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(one), "c"(two), "d"(three), "S"(MS_BIND), "D"(0) : "memory");
    return result;
}

static int same(const char *one, const char *other)
{
    while (*one && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

static void say_pid(void)
{
    char line[] = "pid=          \n";
    char digits[10];
    int count = 0;
    int end = 4;
    for (unsigned pid = call(SYS_GETPID, 0, 0, 0); pid; pid /= 10)
        digits[count++] = '0' + pid % 10;
    while (count)
        line[end++] = digits[--count];
    line[end++] = '\n';
    call(SYS_WRITE, 1, (long)line, end);
}

static int perform(int count, char **arguments)
{
    const char *action = count > 2 ? arguments[1] : "";
    long one = count > 2 ? (long)arguments[2] : 0;
    long other = count > 3 ? (long)arguments[3] : 0;
    if (same(action, "create"))
        return call(SYS_OPEN, one, O_CREAT | O_WRONLY, 0644);
    if (same(action, "mkfifo"))
        return call(SYS_MKNOD, one, S_IFIFO | 0644, 0);
    if (same(action, "rename"))
        return call(SYS_RENAME, one, other, 0);
    if (same(action, "link"))
        return call(SYS_LINK, one, other, 0);
    if (same(action, "symlink"))
        return call(SYS_SYMLINK, one, other, 0);
    if (same(action, "open-for-writing"))
        return call(SYS_OPEN, one, O_WRONLY, 0);
    if (same(action, "truncate"))
        return call(SYS_TRUNCATE, one, 0, 0);
    if (same(action, "unlink"))
        return call(SYS_UNLINK, one, 0, 0);
    if (same(action, "bind"))
        return call(SYS_MOUNT, one, other, 0);
    return -22;
}

__attribute__((used)) static void begin(int *stack)
{
    say_pid();
    int result = perform(stack[0], (char **)(stack + 1));
    call(SYS_EXIT, result < 0 ? -result : 0, 0, 0);
}

__asm__(".globl _start\n"
        "_start:\n"
        "    mov %esp, %eax\n"
        "    and $-16, %esp\n"
        "    sub $12, %esp\n"
        "    push %eax\n"
        "    call begin\n");
