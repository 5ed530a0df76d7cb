import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { MemoryView, MmioFrame } from '@iommukit/platform';
import type { LogSink } from './driver-log.ts';
import { handleGlobalErrors, skipBadCommand } from './global-error.ts';

/**
 * The interrupt of global errors over registers (`arm_smmu_gerror_handler`): prints, gets a stopped command queue going, acknowledges.
 * True when an error was active.
 */
export function answerGlobalErrors(parts: {
  readonly registers: MmioFrame;
  readonly memory: MemoryView;
  readonly log: LogSink;
  /** The command queue. */
  readonly queue: { readonly base: number; readonly lg2: number };
  disable(): void;
}): boolean {
  const { registers, memory, log, queue } = parts;
  const { GERROR, GERRORN, CMDQ_CONS } = REGISTER_OFFSET;
  const gerror = registers.read32(GERROR);
  const active = handleGlobalErrors({
    gerror,
    gerrorn: registers.read32(GERRORN),
    log,
    disable: () => parts.disable(),
    skipCommand() {
      const cons = registers.read32(CMDQ_CONS);
      skipBadCommand({ memory, base: queue.base, lg2: queue.lg2, cons, log });
    },
  });
  // The queue goes on from here, so the command was replaced before.
  if (active) registers.write32(GERRORN, gerror);
  return active;
}
