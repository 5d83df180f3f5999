/** How a worker's process ends, after sysexits.h: told to, idle on a machine that can run no jobs, by a fault of its own, with an expired key, cut off by the server, refused its configuration or identity. */
export const exitCodes = {
  stopped: 0,
  unavailable: 69,
  software: 70,
  expired: 76,
  revoked: 77,
  configuration: 78,
} as const
