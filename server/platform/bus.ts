/** In-process news: a hint that something changed, never the truth. Listeners re-read the database. */
export interface Bus {
  publish(topic: string): void
  /** Calls `listener` after each publish of the topic until the returned function is called. */
  subscribe(topic: string, listener: () => void): () => void
}

export function createBus(): Bus {
  const topics = new Map<string, Set<() => void>>()
  return {
    publish(topic) {
      for (const listener of [...(topics.get(topic) ?? [])]) listener()
    },
    subscribe(topic, listener) {
      const listeners = topics.get(topic) ?? new Set()
      topics.set(topic, listeners.add(listener))
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0 && topics.get(topic) === listeners) topics.delete(topic)
      }
    },
  }
}
