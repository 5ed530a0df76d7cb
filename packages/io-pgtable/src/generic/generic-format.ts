import { ERRNO } from '@iommukit/platform';
import type { PageTableFormat } from '../page-table-format.ts';
import { GENERIC_FEATURES, type GenericConfig, type GenericFeature } from './generic-config.ts';
import type { GenericEntries } from './generic-entries.ts';
import { GenericPageTable } from './generic-page-table.lanes.ts';
import { reachLg2 } from './generic-sizes.ts';

/**
 * Makes a format of the generic family from a description of its entries (`pt_iommu_*_init`). Creation returns -EINVAL for sizes and
 * levels that the format lacks, -EOPNOTSUPP for features, -ENOMEM without a frame for the top table.
 * @example const x8664 = genericFormat({ name: 'x86_64', ...entries });
 */
export function genericFormat<H>(
  entries: GenericEntries<H>,
): PageTableFormat<GenericConfig, GenericPageTable<H>> {
  return {
    name: entries.name,
    create(config) {
      const { hwMaxVaszLg2, hwMaxOaszLg2 } = config;
      if (!(hwMaxVaszLg2 > 0 && hwMaxVaszLg2 <= entries.maxVaszLg2)) return -ERRNO.EINVAL;
      if (!(hwMaxOaszLg2 > 0)) return -ERRNO.EINVAL;
      const inForce = new Set<GenericFeature>([...config.features, ...entries.forced]);
      const has = (name: GenericFeature): boolean => inForce.has(name);
      const geometry = entries.geometry(config, has);
      if (typeof geometry === 'number') return geometry;
      if (hwMaxOaszLg2 > entries.maxOaszLg2) return -ERRNO.EINVAL;
      if (!takesFeatures(entries, config)) return -ERRNO.EOPNOTSUPP;
      const { topLevel, maxVaszLg2 } = geometry;
      if (!has('DYNAMIC_TOP') && reachLg2(entries, topLevel) < maxVaszLg2) return -ERRNO.EOPNOTSUPP;
      if (has('SIGN_EXTEND') && (has('FULL_VA') || has('DYNAMIC_TOP'))) return -ERRNO.EINVAL;
      const table = new GenericPageTable(entries, config, geometry, has);
      const errno = table.allocTop();
      return errno === 0 ? table : errno;
    },
  };
}

function takesFeatures(entries: GenericEntries<unknown>, config: GenericConfig): boolean {
  const { features, debug } = config;
  if (!features.every((name) => GENERIC_FEATURES.includes(name))) return false;
  if (!debug)
    return (
      features.every((name) => entries.supported.includes(name)) &&
      entries.forced.every((name) => features.includes(name))
    );
  // A build with the debug checks takes everything but what needs a software bit, and what cannot stand beside a sign.
  const signed = entries.supported.includes('SIGN_EXTEND');
  return features.every((name) => {
    if (name === 'DMA_INCOHERENT') return entries.supported.includes(name);
    if (name === 'SIGN_EXTEND') return signed;
    if (name === 'DYNAMIC_TOP' || name === 'FULL_VA') return !signed;
    return true;
  });
}
