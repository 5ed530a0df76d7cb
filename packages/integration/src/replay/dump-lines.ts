/**
 * The last line of `qemu-ops` before the idle dump. It follows from the byte offset in run.json, applied to the full QEMU log, which is
 * too long to be read here; so it is written down. Other captures are cut at the next write of CMDQ_PROD.
 */
const IDLE_LINES: Readonly<Record<string, number>> = {
  'linux-6.12-strict-up': 82_618,
  'linux-6.12-strict': 84_046,
  'linux-6.12-fault': 77_782,
  'linux-6.12-lazy': 53_754,
  'linux-7.2-strict': 75_011,
};

/** The last line of `qemu-ops` before a capture's idle dump, where it is known. */
export function idleLine(capture: string): number | undefined {
  return Object.hasOwn(IDLE_LINES, capture) ? IDLE_LINES[capture] : undefined;
}
