/**
 * kubelet expands $(NAME) in commands, arguments, environment values and subPathExpr.
 * Doubling each dollar sign makes the text arrive as it was written.
 */
export function escapeExpansion(text: string): string {
  return text.replaceAll('$', '$$$$');
}
