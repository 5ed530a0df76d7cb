import { IommuError } from '@iommukit/bits';
import { FLUSH_QUEUE_PER_CPU, FLUSH_QUEUE_SINGLE, type FlushQueueOptions } from '@iommukit/dma-api';

/**
 * A way to run the DMA of a trace. `strict`: unmap returns after the invalidation; `lazy`, `lazy-percpu`: it leaves that to a flush queue, one for
 * all CPUs or a ring for each; `two-step`: strict, and requests of several pieces get one range first and are linked into it; `handle`: strict, and
 * streaming calls give out handles.
 * @example const mode: ReplayMode = 'lazy-percpu';
 */
export type ReplayMode = 'strict' | 'lazy' | 'lazy-percpu' | 'two-step' | 'handle';

/** What a mode changes. */
export interface ModePolicy {
  /** The queue of its domains; null: they are strict. */
  readonly queue: FlushQueueOptions | null;
  /** Which calls make the requests. */
  readonly calls: 'plain' | 'linked' | 'handles';
}

const POLICIES: Readonly<Record<ReplayMode, ModePolicy>> = {
  strict: { queue: null, calls: 'plain' },
  lazy: { queue: FLUSH_QUEUE_SINGLE, calls: 'plain' },
  'lazy-percpu': { queue: FLUSH_QUEUE_PER_CPU, calls: 'plain' },
  'two-step': { queue: null, calls: 'linked' },
  handle: { queue: null, calls: 'handles' },
};

/** What `mode` changes. */
export function modePolicy(mode: ReplayMode): ModePolicy {
  return POLICIES[mode];
}

/**
 * The modes of a list such as `strict,lazy`, each once; throws {@link UnknownMode}.
 * @example parseModes('strict,handle') // ['strict', 'handle']
 */
export function parseModes(text: string): ReplayMode[] {
  const modes: ReplayMode[] = [];
  for (const part of text.split(',')) {
    const mode = part.trim();
    if (!isMode(mode)) throw new UnknownMode({ mode });
    if (!modes.includes(mode)) modes.push(mode);
  }
  return modes;
}

function isMode(text: string): text is ReplayMode {
  return Object.hasOwn(POLICIES, text);
}

/**
 * A replay was asked for a mode that does not exist; code `UNKNOWN_MODE`.
 * @example try { parseModes('eager'); } catch (e) { (e as UnknownMode).operands.mode; }
 */
export class UnknownMode extends IommuError<{ mode: string }> {
  override readonly name = 'UnknownMode';
  constructor(operands: { mode: string }) {
    super(
      'UNKNOWN_MODE',
      operands,
      `there is no replay mode "${operands.mode}"`,
      `Use some of ${Object.keys(POLICIES).join(',')}`,
    );
  }
}
