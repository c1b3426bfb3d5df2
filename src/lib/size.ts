const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** A number of bytes for people: "812 bytes", "3.4 GB". */
export function formatSize(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  return power === 0 ? `${Math.round(bytes)} bytes` : `${(bytes / 1000 ** power).toFixed(1)} ${UNITS[power]}`;
}
