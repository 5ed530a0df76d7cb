/* S4: unmap_pages. */
import { line, shown, type Thread } from './evidence.ts';

const COH = ['L coh', 'U coh'];
const NC = ['L nc', 'U nc'];
const FORMAT = ['L format coh', 'U format coh'];
const CORE = ['L pages coh', 'U pages coh'];

export const unmapPages: Thread = {
  prefix: 'S4-',
  title: 'unmap_pages',
  year: '2021',
  claim: 'Unmapping many blocks in one call saves walks and indirect calls.',
  missing: 'Counts; the cases where it does not help; holes.',
  later:
    'In Linux since 5.15 (2021), with map_pages; the calls for a single page went by 6.2 (2022), splitting a block on unmap in 6.13 (2024).',
  tables: [
    {
      title: 'Format calls for 1 GiB',
      columns: ['one entry a call', 'unmap_pages'],
      plot: 'log',
      lines: [
        line('4 KiB pages', 'S4-2', 'fmt', COH),
        line('2 MiB blocks', 'S4-3', 'fmt', COH),
        line('16 KiB pages', 'S4-10', 'fmt', FORMAT),
        line('64 KiB pages', 'S4-11', 'fmt', FORMAT),
        line('aligned, through the core', 'S4-4', 'fmt', CORE),
      ],
    },
    {
      title: 'Table levels walked for 1 GiB',
      columns: ['one entry a call', 'unmap_pages'],
      plot: 'log',
      lines: [
        line('4 KiB pages', 'S4-2', 'lvl', COH),
        line('2 MiB blocks', 'S4-3', 'lvl', COH),
        line('16 KiB pages', 'S4-10', 'lvl', FORMAT),
        line('64 KiB pages', 'S4-11', 'lvl', FORMAT),
        line('aligned, through the core', 'S4-4', 'lvl', CORE),
      ],
    },
    {
      title: 'Commands',
      columns: ['one entry a call', 'unmap_pages'],
      plot: 'linear',
      lines: [
        line('1 GiB of 4 KiB pages', 'S4-2', 'cmd', COH),
        line('1 GiB of 2 MiB blocks', 'S4-3', 'cmd', COH),
        line('3 MiB through the core', 'S4-7', 'cmd', COH),
        line('8 MiB through the core', 'S4-9', 'cmd', COH),
      ],
    },
    {
      title: 'Cache lines cleaned for a walker that does not snoop',
      columns: ['one entry a call', 'unmap_pages'],
      plot: 'log',
      lines: [
        line('512 pages', 'S4-1', 'cml', NC),
        line('1 GiB of 4 KiB pages', 'S4-2', 'cml', NC),
        line('3 MiB through the core', 'S4-7', 'cml', NC),
      ],
    },
  ],
  identical: [
    {
      says: 'Returned bytes, stores, commands and their fields are equal; only calls, levels and cleaned lines differ.',
      shown: shown('S4-2', COH, 'bytes', 'st', 'fields'),
    },
    {
      says: 'Random sequences of maps, holes and unmaps end with equal tables, bytes and commands.',
      shown: shown('S4-20', ['6000 sequences, 4K'], 'sequences', 'differences'),
    },
  ],
  notGained: [
    {
      says: 'No TLBI and no SYNC is saved, in any row.',
      shown: shown('S4-1', COH, 'VA', 'SYNC'),
    },
    {
      says: 'Aligned large unmaps through the core gain nothing: the core already asked for one big entry.',
      shown: shown('S4-4', CORE, 'fmt', 'lvl'),
    },
    {
      says: 'A hole in a table that is unmapped whole is not noticed.',
      shown: shown('S4-12', ['U (b) in a full table'], 'bytes', 'warn'),
    },
  ],
};
