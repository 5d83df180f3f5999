// Numbers of system calls. Those of 424 and above are the same on every architecture; below, each has its own.

export interface SyscallTable {
  /** AUDIT_ARCH_* of linux/audit.h. */
  readonly audit: number
  /** The newest number this table was checked against; later ones do not exist for a job until someone has read them. */
  readonly newest: number
  readonly refused: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** Memory that belongs to no process and lies in no mount: only a control group counts it, so without one it is refused too. */
  readonly uncounted: Readonly<Record<string, number>>
  readonly clone: number
  readonly clone3: number
  readonly ioctl: number
  readonly socket: number
  readonly socketpair: number
}

/** System call numbers per `process.arch`; another architecture is one more entry with the same shape. */
export const SYSCALLS: Readonly<Record<string, SyscallTable>> = {
  x64: {
    audit: 0xc000003e,
    newest: 462, // mseal, Linux 6.10
    refused: {
      'read or steer another process': {
        ptrace: 101,
        process_vm_readv: 310,
        process_vm_writev: 311,
        kcmp: 312,
        pidfd_getfd: 438,
        process_madvise: 440,
      },
      'change what is mounted where': {
        pivot_root: 155,
        chroot: 161,
        mount: 165,
        umount2: 166,
        open_tree: 428,
        move_mount: 429,
        fsopen: 430,
        fsconfig: 431,
        fsmount: 432,
        fspick: 433,
        mount_setattr: 442,
        statmount: 457,
        listmount: 458,
      },
      'enter or make namespaces': { unshare: 272, setns: 308 },
      'kernel parts with a long history of exploits': {
        vmsplice: 278,
        perf_event_open: 298,
        bpf: 321,
        userfaultfd: 323,
        io_uring_setup: 425, // also a way to make sockets past the rule on socket() below
        io_uring_enter: 426,
        io_uring_register: 427,
        memfd_secret: 447,
      },
      'keyrings, which no namespace separates': { add_key: 248, request_key: 249, keyctl: 250 },
      'the machine itself': {
        syslog: 103,
        acct: 163,
        settimeofday: 164,
        swapon: 167,
        swapoff: 168,
        reboot: 169,
        sethostname: 170,
        setdomainname: 171,
        iopl: 172,
        ioperm: 173,
        init_module: 175,
        delete_module: 176,
        quotactl: 179,
        clock_settime: 227,
        kexec_load: 246,
        clock_adjtime: 305,
        finit_module: 313,
        kexec_file_load: 320,
        quotactl_fd: 443,
        lsm_get_self_attr: 459,
        lsm_set_self_attr: 460,
        lsm_list_modules: 461,
        adjtimex: 159,
      },
      'files by handle, and watching whole file systems': {
        fanotify_init: 300,
        name_to_handle_at: 303,
        open_by_handle_at: 304,
      },
      'leftovers no program needs': {
        uselib: 134,
        personality: 135, // would switch address randomization off
        vhangup: 153,
        modify_ldt: 154,
        nfsservctl: 180,
        lookup_dcookie: 212,
      },
      'placement in memory': {
        mbind: 237,
        set_mempolicy: 238,
        migrate_pages: 256,
        move_pages: 279,
        set_mempolicy_home_node: 450,
      },
    },
    uncounted: { shmget: 29, memfd_create: 319 },
    clone: 56,
    clone3: 435,
    ioctl: 16,
    socket: 41,
    socketpair: 53,
  },
  arm64: {
    audit: 0xc00000b7,
    newest: 462, // mseal, Linux 6.10
    refused: {
      'read or steer another process': {
        ptrace: 117,
        process_vm_readv: 270,
        process_vm_writev: 271,
        kcmp: 272,
        pidfd_getfd: 438,
        process_madvise: 440,
      },
      'change what is mounted where': {
        pivot_root: 41,
        chroot: 51,
        mount: 40,
        umount2: 39,
        open_tree: 428,
        move_mount: 429,
        fsopen: 430,
        fsconfig: 431,
        fsmount: 432,
        fspick: 433,
        mount_setattr: 442,
        statmount: 457,
        listmount: 458,
      },
      'enter or make namespaces': { unshare: 97, setns: 268 },
      'kernel parts with a long history of exploits': {
        vmsplice: 75,
        perf_event_open: 241,
        bpf: 280,
        userfaultfd: 282,
        io_uring_setup: 425, // also a way to make sockets past the rule on socket() below
        io_uring_enter: 426,
        io_uring_register: 427,
        memfd_secret: 447,
      },
      'keyrings, which no namespace separates': { add_key: 217, request_key: 218, keyctl: 219 },
      'the machine itself': {
        syslog: 116,
        acct: 89,
        settimeofday: 170,
        swapon: 224,
        swapoff: 225,
        reboot: 142,
        sethostname: 161,
        setdomainname: 162,
        init_module: 105,
        delete_module: 106,
        quotactl: 60,
        clock_settime: 112,
        kexec_load: 104,
        clock_adjtime: 266,
        finit_module: 273,
        kexec_file_load: 294,
        quotactl_fd: 443,
        lsm_get_self_attr: 459,
        lsm_set_self_attr: 460,
        lsm_list_modules: 461,
        adjtimex: 171,
      },
      'files by handle, and watching whole file systems': {
        fanotify_init: 262,
        name_to_handle_at: 264,
        open_by_handle_at: 265,
      },
      'leftovers no program needs': {
        personality: 92, // would switch address randomization off
        vhangup: 58,
        nfsservctl: 42,
        lookup_dcookie: 18,
      },
      'placement in memory': {
        mbind: 235,
        set_mempolicy: 237,
        migrate_pages: 238,
        move_pages: 239,
        set_mempolicy_home_node: 450,
      },
    },
    uncounted: { shmget: 194, memfd_create: 279 },
    clone: 220,
    clone3: 435,
    ioctl: 29,
    socket: 198,
    socketpair: 199,
  },
}
