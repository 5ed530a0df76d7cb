import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import { type DmaAccess, type DmaResult, SmmuV3Model } from '@iommukit/smmu-v3-model';
import type { DumpImage } from './dump-image.ts';

/** The model over a dump's memory and registers; without caches unless `keep`, and with registers replaced on request. */
export function modelOfDump(
  image: DumpImage,
  options: {
    readonly keep?: boolean;
    readonly registers?: ReadonlyMap<number, number>;
  } = {},
): SmmuV3Model {
  const { programming, memory } = image;
  const cache = options.keep === true ? 'keep' : 'none';
  const model = new SmmuV3Model({
    memory,
    idr: programming.registers,
    policy: { tlb: cache, walk: cache, config: cache },
  });
  model.restoreRegisters(new Map([...programming.registers, ...(options.registers ?? [])]));
  return model;
}

/** CR0 and its acknowledgement with translation on and no queue, so that entries can be probed without a trace. */
export const PROBING: ReadonlyMap<number, number> = new Map([
  [R.CR0, 1],
  [R.CR0ACK, 1],
  // Errors of the configuration are reported, so that they can be told from an abort STE.
  [R.CR2, 2],
]);

/** A word for what became of an access: `ok`, `bypass`, `abort`, or the event's name. */
export function outcomeName(result: DmaResult): string {
  return 'event' in result ? result.event.event : result.outcome;
}

/** An access to a page or byte address. */
export function accessOf(
  streamId: number,
  address: U64,
  options: { readonly rw?: 'read' | 'write'; readonly substreamId?: number } = {},
): DmaAccess {
  const { rw = 'read', substreamId } = options;
  return substreamId === undefined
    ? { streamId, address, rw }
    : { streamId, address, rw, substreamId };
}
