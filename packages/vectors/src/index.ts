/**
 * What a file of vectors records; `data/golden/README.md` documents each kind.
 * @example const kind: VectorKind = 'iova';
 */
export type VectorKind =
  | 'dma-iommu'
  | 'evt-print'
  | 'generic-pt'
  | 'generic-pt-cfg-matrix'
  | 'io-pgtable'
  | 'io-pgtable-cfg-matrix'
  | 'iommu-core'
  | 'iova'
  | 'smmu-cmd'
  | 'smmu-entry'
  | 'smmu-inv';

/**
 * One file of this package. `path` is relative to the package's folder; `operations` counts the entries of the file's `ops` or
 * `cases`, checkpoints included.
 * @example const file: VectorFile = { path: 'data/golden/iova_limits.json', kind: 'iova', name: 'iova_limits', operations: 604 };
 */
export interface VectorFile {
  readonly path: string;
  readonly kind: VectorKind;
  readonly name: string;
  readonly operations: number;
}

const file = (kind: VectorKind, name: string, operations: number): VectorFile => ({
  path: `data/golden/${name}.json`,
  kind,
  name,
  operations,
});

/**
 * Every file of vectors in this package, by path, recorded from Linux 7.3-rc7, those with `_612` in the name from 6.12.107. Files are read from the installed folder; nothing is loaded here.
 * @example VECTOR_FILES.filter(({ kind }) => kind === 'iova').length // 10
 */
export const VECTOR_FILES: readonly VectorFile[] = [
  file('iommu-core', 'core_gather_resv', 207),
  file('iommu-core', 'core_map', 307),
  file('iommu-core', 'core_map_sg', 155),
  file('iommu-core', 'core_pgsize', 320),
  file('iommu-core', 'core_unmap', 290),
  file('dma-iommu', 'dma_alloc', 169),
  file('dma-iommu', 'dma_fq', 17),
  file('dma-iommu', 'dma_iova', 75),
  file('dma-iommu', 'dma_sg', 154),
  file('evt-print', 'evt_print', 263),
  file('evt-print', 'evt_print_612', 171),
  file('generic-pt', 'gpt_amdv1_48_nogaps_sme', 702),
  file('generic-pt', 'gpt_amdv1_64', 902),
  file('generic-pt', 'gpt_amdv1_mock', 354),
  file('generic-pt-cfg-matrix', 'gpt_cfg_matrix', 412),
  file('generic-pt', 'gpt_edges_amdv1', 913),
  file('generic-pt', 'gpt_edges_x86_64', 443),
  file('generic-pt', 'gpt_riscv64_sv48', 702),
  file('generic-pt', 'gpt_vtdss_39_incoherent', 602),
  file('generic-pt', 'gpt_vtdss_48_dirty', 803),
  file('generic-pt', 'gpt_x86_64_48_sign_incoherent', 702),
  file('io-pgtable-cfg-matrix', 'iopgt_cfg_matrix', 1387),
  file('iova', 'iova_32bit_exhaustion', 807),
  file('iova', 'iova_cpu_dead', 1204),
  file('iova', 'iova_depot_2cpu', 3098),
  file('iova', 'iova_flush_retry', 628),
  file('iova', 'iova_large', 603),
  file('iova', 'iova_limits', 604),
  file('iova', 'iova_reserve', 604),
  file('iova', 'iova_small_2cpu', 903),
  file('iova', 'iova_soak_4cpu', 2503),
  file('iova', 'iova_unaligned', 603),
  file('io-pgtable', 'pt_32_lpae_s1', 352),
  file('io-pgtable', 'pt_dart2_16k_42', 352),
  file('io-pgtable', 'pt_dart_16k', 352),
  file('io-pgtable', 'pt_edges_dart_4k', 292),
  file('io-pgtable', 'pt_edges_s1_4k', 471),
  file('io-pgtable', 'pt_edges_s1_64k_52_hd', 471),
  file('io-pgtable', 'pt_edges_s2_concat', 294),
  file('io-pgtable', 'pt_edges_v7s', 445),
  file('io-pgtable', 'pt_mali_33', 352),
  file('io-pgtable', 'pt_overrun_s1_4k', 402),
  file('io-pgtable', 'pt_s1_16k_48', 452),
  file('io-pgtable', 'pt_s1_4k_39_noncoherent', 702),
  file('io-pgtable', 'pt_s1_4k_48_a', 1202),
  file('io-pgtable', 'pt_s1_4k_enomem', 402),
  file('io-pgtable', 'pt_s1_4k_hd', 903),
  file('io-pgtable', 'pt_s1_4k_ns_nowarn', 402),
  file('io-pgtable', 'pt_s1_4k_ttbr1', 602),
  file('io-pgtable', 'pt_s1_64k_52', 702),
  file('io-pgtable', 'pt_s2_16k_48_concat2_fwb', 352),
  file('io-pgtable', 'pt_s2_4k_40_concat2', 452),
  file('io-pgtable', 'pt_s2_4k_48_noncoherent', 402),
  file('io-pgtable', 'pt_s2_64k_52', 352),
  file('io-pgtable', 'pt_v7s_32', 502),
  file('io-pgtable', 'pt_v7s_mtk_34', 352),
  file('smmu-cmd', 'smmu_cmd', 280),
  file('smmu-cmd', 'smmu_cmd_612', 148),
  file('smmu-entry', 'smmu_entry_build', 319),
  file('smmu-entry', 'smmu_entry_write', 773),
  file('smmu-entry', 'smmu_entry_write_612', 36),
  file('smmu-inv', 'smmu_inv_612', 343),
  file('smmu-inv', 'smmu_inv_array', 383),
  file('smmu-inv', 'smmu_inv_hand', 314),
  file('smmu-inv', 'smmu_inv_random', 400),
];
