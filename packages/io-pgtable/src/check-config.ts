import { IommuError, isPowerOfTwo } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { QuirkName } from './page-table-config.ts';

/** What each field of a configuration must be; a field that is absent is not looked at. */
type Kind = 'bits' | 'bitmap' | 'page size' | 'flag' | readonly string[];

const KINDS: Readonly<Record<string, Kind>> = {
  pgsizeBitmap: 'bitmap',
  ias: 'bits',
  oas: 'bits',
  cpuPageSize: 'page size',
  coherentWalk: 'flag',
  hwMaxVaszLg2: 'bits',
  hwMaxOaszLg2: 'bits',
  topLevel: 'bits',
  memory: ['load64', 'store64', 'cas64', 'load32', 'store32', 'clean', 'lanes'],
  frames: ['alloc', 'free'],
  flush: ['tlbFlushAll', 'tlbFlushWalk', 'tlbAddPage'],
  driver: ['iotlbSync'],
};

/** The fields that come together: who has the first is asked for the others. */
const FAMILIES: readonly (readonly string[])[] = [
  ['pgsizeBitmap', 'ias', 'oas', 'coherentWalk', 'memory', 'frames', 'flush', 'profile'],
  ['hwMaxVaszLg2', 'hwMaxOaszLg2', 'features', 'memory', 'frames', 'driver'],
];

const QUIRKS: Readonly<Record<QuirkName, true>> = {
  ttbr1: true,
  hd: true,
  ns: true,
  noWarn: true,
  outerWbwa: true,
  s2fwb: true,
  noPerms: true,
  mtkExt: true,
  mtkTtbrExt: true,
};

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** True where `value` may stand in a field of this kind. */
function fits(kind: Kind, value: unknown): boolean {
  if (kind === 'flag') return typeof value === 'boolean';
  if (typeof kind !== 'string')
    return isRecord(value) && kind.every((name) => typeof value[name] === 'function');
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) return false;
  if (kind === 'bits') return value <= 0xffff_ffff;
  return kind === 'bitmap' ? value < 2 ** 64 : isPowerOfTwo(value);
}

/**
 * Looks at a configuration before a format does: what no kernel could have been given, since its types forbid it, throws
 * {@link PageTableConfigError}; a quirk that nobody has is -EINVAL, as the kernel answers to bits that it does not know. 0: the
 * format decides. Fields that only a further format has are that format's own.
 */
export function checkConfig(config: unknown): number {
  if (!isRecord(config)) throw new PageTableConfigError({ field: 'config', value: config });
  for (const family of FAMILIES)
    if (family[0] !== undefined && family[0] in config)
      for (const field of family)
        if (config[field] === undefined)
          throw new PageTableConfigError({ field, value: undefined });
  for (const [field, kind] of Object.entries(KINDS)) {
    const value = config[field];
    if (value !== undefined && !fits(kind, value)) throw new PageTableConfigError({ field, value });
  }
  const { quirks, profile, features } = config as Readonly<
    Record<'quirks' | 'profile' | 'features', unknown>
  >;
  if (profile !== undefined && !isRecord(profile))
    throw new PageTableConfigError({ field: 'profile', value: profile });
  if (features !== undefined && !Array.isArray(features))
    throw new PageTableConfigError({ field: 'features', value: features });
  if (quirks === undefined) return 0;
  if (!isRecord(quirks)) throw new PageTableConfigError({ field: 'quirks', value: quirks });
  for (const [name, value] of Object.entries(quirks)) {
    if (typeof value !== 'boolean' && value !== undefined)
      throw new PageTableConfigError({ field: `quirks.${name}`, value });
    if (value === true && !(name in QUIRKS)) return -ERRNO.EINVAL;
  }
  return 0;
}

/**
 * A configuration that is no configuration: a field is absent or of the wrong kind; code `PAGE_TABLE_CONFIG`.
 * @example try { createPageTable(arm64LpaeS1, { ...config, ias: Number.NaN }); } catch (e) { (e as PageTableConfigError).operands.field; } // 'ias'
 */
export class PageTableConfigError extends IommuError<{ field: string; value: unknown }> {
  override readonly name = 'PageTableConfigError';
  constructor(operands: { field: string; value: unknown }) {
    const { field, value } = operands;
    super(
      'PAGE_TABLE_CONFIG',
      operands,
      `${field} is ${value === undefined ? 'absent' : `no such thing: ${String(value)}`}`,
      'Sizes are non-negative integers, quirks booleans; memory, frames and callbacks are objects with the methods of their interfaces',
    );
  }
}
