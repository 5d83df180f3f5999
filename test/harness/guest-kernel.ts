/** The kernel that the emulated machine of test/guest boots; undefined where none is named. */
export const guestKernel = process.env.HIVESYNC_TEST_KERNEL || undefined
