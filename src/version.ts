/** Version of the program, written by the bundler; `dev` when it runs from sources. */
declare const ANALYSIS_OPERATOR_VERSION: string | undefined;

export const version: string =
  typeof ANALYSIS_OPERATOR_VERSION === 'string' ? ANALYSIS_OPERATOR_VERSION : 'dev';
