/**
 * Linux errno values by name, positive; kernel functions return them negated. Source: Linux `errno-base.h`, `errno.h` (generic).
 * @example const result: number = -ERRNO.ENOMEM; // -12
 */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  EAGAIN: 11,
  ENOMEM: 12,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EFAULT: 14,
  ENOSPC: 28,
  ERANGE: 34,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  EREMOTEIO: 121,
  EPROBE_DEFER: 517,
} as const;

/**
 * A name of {@link ERRNO}.
 * @example const name: ErrnoName = 'EINVAL';
 */
export type ErrnoName = keyof typeof ERRNO;

/**
 * The outcome of a kernel function that can fail after part of its work.
 * @example const result: ErrnoResult = { errno: -ERRNO.ENOMEM, mapped: 4096 };
 */
export interface ErrnoResult {
  /** 0 or a negative errno. */
  readonly errno: number;
  /** Bytes done before the failure. */
  readonly mapped: number;
}

/**
 * The name of a negative errno, or its number as text.
 * @example errnoName(-22) // 'EINVAL'
 */
export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(ERRNO)) if (value === -errno) return name;
  return String(errno);
}
