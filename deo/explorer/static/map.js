/* The map: tiles that are fetched with the token, markers, and clicks as cells.
 *
 * Coordinates are cells of the finest grid: latitude is -row, longitude is column, and at zoom 0 a
 * cell is a pixel of the screen. A tile of level k is one of zoom -k.
 */
"use strict";

const FeatureTiles = L.GridLayer.extend({
  /** Show another view, or the same one anew; resolves when all tiles in sight are painted. */
  show(view, version) {
    this._view = view;
    this._version = version;
    if (this._abort) this._abort.abort();
    this._abort = new AbortController();
    if (!this._map) return Promise.resolve();
    const tiles = Object.values(this._tiles).filter((tile) => tile.current);
    return Promise.all(tiles.map((tile) => this._paint(tile.el, tile.coords)));
  },

  createTile(coords, done) {
    const canvas = document.createElement("canvas");
    const size = this.getTileSize();
    canvas.width = size.x;
    canvas.height = size.y;
    this._paint(canvas, coords).then(() => done(null, canvas), (error) => done(error, canvas));
    return canvas;
  },

  /** Leaflet sets the size of a tile after it is made; half a pixel more hides the seams. */
  _initTile(tile) {
    L.GridLayer.prototype._initTile.call(this, tile);
    const size = this.getTileSize();
    tile.style.width = `${size.x + 0.5}px`;
    tile.style.height = `${size.y + 0.5}px`;
  },

  async _paint(canvas, coords) {
    if (!this._view) return;
    const query = new URLSearchParams({
      view: this._view, level: -coords.z, row: coords.y, col: coords.x, version: this._version,
    });
    try {
      const response = await this.options.request(`api/tile?${query}`, {
        signal: this._abort && this._abort.signal,
      });
      if (!response.ok) return;
      const image = await createImageBitmap(await response.blob());
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  },
});

/** The map of a state's features; `request` fetches with the token, `clicked` is told cells. */
class FeatureMap {
  constructor(about, request, clicked) {
    this.about = about;
    const deepest = Math.max(-about.finest, 0) + 3;
    this.map = L.map("map", {
      crs: L.CRS.Simple, minZoom: -about.highest - 2, maxZoom: deepest, zoomSnap: 0.25,
      attributionControl: false, fadeAnimation: false, zoomControl: false, boxZoom: false,
      doubleClickZoom: false, keyboardPanDelta: 60,
    });
    L.control.zoom({ position: "topleft" }).addTo(this.map);
    this.bounds = L.latLngBounds([[-about.height, 0], [0, about.width]]);
    this.map.fitBounds(this.bounds, { padding: [16, 16] });
    this.map.setMaxBounds(this.bounds.pad(0.5));
    const options = {
      tileSize: about.side, minZoom: -about.highest - 2, maxZoom: deepest, bounds: this.bounds,
      minNativeZoom: -about.highest, request, keepBuffer: 1, noWrap: true,
    };
    this.base = new FeatureTiles({ ...options, maxNativeZoom: -about.finest, className: "scene" });
    this.overlay = new FeatureTiles({ ...options, maxNativeZoom: 0, className: "cells", zIndex: 2 });
    this.markers = L.layerGroup().addTo(this.map);
    this.map.on("click", (event) => this._click(event.latlng, clicked));
    this.map.getContainer().addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === this.map.getContainer()) {
        this._click(this.map.getCenter(), clicked);
      }
    });
  }

  /** Paint a view; the scene lies below all others. */
  show(view, version, hasScene) {
    if (hasScene && !this.map.hasLayer(this.base)) {
      this.base.show("scene", 0);
      this.base.addTo(this.map);
    }
    if (view === "scene") {
      this.overlay.remove();
      return Promise.resolve();
    }
    const painted = this.overlay.show(view, version);
    if (this.map.hasLayer(this.overlay)) return painted;
    return new Promise((resolve) => {
      this.overlay.once("load", resolve);
      this.overlay.addTo(this.map);
    });
  }

  /** Draw examples, the place that others are compared with, and where to click next. */
  mark(state, suggesting) {
    this.markers.clearLayers();
    const middle = ([row, col]) => [-(row + 0.5), col + 0.5];
    const ring = (cell, style) =>
      L.circleMarker(middle(cell), { interactive: false, fill: false, ...style }).addTo(this.markers);
    if (suggesting) {
      for (const cell of state.suggestions) {
        ring(cell, { radius: 12, color: "#000", weight: 5, opacity: 0.55 });
        ring(cell, { radius: 12, color: "#ffd84d", weight: 2.5, dashArray: "4 4" });
      }
    }
    if (state.reference) {
      ring(state.reference, { radius: 9, color: "#000", weight: 5, opacity: 0.7 });
      ring(state.reference, { radius: 9, color: "#fff", weight: 2 });
    }
    for (const [row, col, number] of state.examples) {
      ring([row, col], {
        radius: 6, color: "#fff", weight: 2, fill: true, fillOpacity: 1,
        fillColor: state.classes[number].colour,
      });
    }
  }

  /** Bring a cell into sight. */
  goTo([row, col]) {
    this.map.panInside([-(row + 0.5), col + 0.5], { padding: [60, 60] });
  }

  _click(place, clicked) {
    const row = Math.floor(-place.lat);
    const col = Math.floor(place.lng);
    const inside = row >= 0 && col >= 0 && row < this.about.height && col < this.about.width;
    if (inside) clicked(row, col);
  }
}
