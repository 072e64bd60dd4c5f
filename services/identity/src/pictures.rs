//! Pictures of people: read with limits, turned upright, scaled, and written anew without anything but the pixels.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits, RgbImage, codecs::jpeg::JpegEncoder,
};
use tokio::sync::Semaphore;

use crate::error::Error;

/// The largest file.
pub const MOST_BYTES: usize = 2 * 1024 * 1024;
/// The most pixels a side. What a file announces is checked before anything is allocated for it.
const MOST_PIXELS: u32 = 8192;
/// The most bytes of a decoded picture: 24 megapixels with transparency, 32 without.
const MOST_DECODED: u64 = 96 * 1024 * 1024;
/// How many are decoded at a time, and how many more may wait: each waiting one holds its file.
const AT_ONCE: usize = 2;
const LINE: usize = 16;
/// Pixels a side, at most.
const LARGE: u32 = 512;
const SMALL: u32 = 96;
const QUALITY: u8 = 85;

/// Why a file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// No PNG, JPEG or WebP, or a damaged one.
    Unreadable,
    /// Too many bytes or pixels.
    TooLarge,
}

impl Unfit {
    /// As callers see it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unreadable => "FIELD_PICTURE",
            Self::TooLarge => "FIELD_PICTURE_SIZE",
        }
    }
}

/// A picture as JPEG files.
#[derive(Debug)]
pub struct Scaled {
    /// At most 512 pixels a side.
    pub large: Bytes,
    /// At most 96 pixels a side.
    pub small: Bytes,
}

/// Scales pictures. Clones share the pool: two at a time, so at most two decoded pictures are in memory.
#[derive(Clone)]
pub struct Pictures {
    permits: Arc<Semaphore>,
    /// One for each that is decoded or waits.
    places: Arc<Semaphore>,
}

impl Default for Pictures {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::new(Semaphore::new(AT_ONCE + LINE)) }
    }
}

impl Pictures {
    /// The picture in a file, off the runtime.
    ///
    /// # Errors
    /// [`Error::PicturesBusy`]: too many wait. The inner one: the file is none to take.
    pub async fn scale(&self, file: Vec<u8>) -> Result<Result<Scaled, Unfit>, Error> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::PicturesBusy)?;
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::PicturesBusy)?;
        let work = move || {
            let _held = (place, permit);
            // Decoders read what strangers wrote: one that panics has found a damaged file.
            catch_unwind(AssertUnwindSafe(|| scale(&file))).unwrap_or(Err(Unfit::Unreadable))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::PicturesBusy)
    }
}

fn scale(file: &[u8]) -> Result<Scaled, Unfit> {
    if file.len() > MOST_BYTES {
        return Err(Unfit::TooLarge);
    }
    let large = read(file)?;
    let small = shrunk(&large, SMALL);
    Ok(Scaled { large: write(&large)?, small: write(&small)? })
}

/// The picture, upright and small enough.
fn read(file: &[u8]) -> Result<DynamicImage, Unfit> {
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format().map_err(|_| Unfit::Unreadable)?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::WebP) => {}
        Some(ImageFormat::Jpeg) if is_whole_jpeg(file) => {}
        _ => return Err(Unfit::Unreadable),
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_PIXELS);
    limits.max_image_height = Some(MOST_PIXELS);
    limits.max_alloc = Some(MOST_DECODED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| unfit(&error))?;
    // Not every decoder counts its output in `max_alloc`.
    if decoder.total_bytes() > MOST_DECODED {
        return Err(Unfit::TooLarge);
    }
    let orientation = decoder.orientation().map_err(|error| unfit(&error))?;
    let whole = DynamicImage::from_decoder(decoder).map_err(|error| unfit(&error))?;
    let mut large = shrunk(&whole, LARGE);
    large.apply_orientation(orientation);
    Ok(large)
}

/// The decoder fills what is missing of a JPEG with grey. Behind the last start of a scan there must be an end of image: inside a
/// scan neither marker can occur (ITU-T T.81, B.1.1.2), and a thumbnail in the metadata comes before the picture's own scan.
fn is_whole_jpeg(file: &[u8]) -> bool {
    let last = |marker: u8| file.windows(2).rposition(|bytes| bytes == [0xff, marker]);
    last(0xda).zip(last(0xd9)).is_some_and(|(scan, end)| scan < end)
}

fn unfit(error: &ImageError) -> Unfit {
    if matches!(error, ImageError::Limits(_)) { Unfit::TooLarge } else { Unfit::Unreadable }
}

/// Never larger than it was.
fn shrunk(image: &DynamicImage, side: u32) -> DynamicImage {
    if image.width() > side || image.height() > side { image.thumbnail(side, side) } else { image.clone() }
}

/// On white where it is transparent, which JPEG cannot be.
fn write(image: &DynamicImage) -> Result<Bytes, Unfit> {
    let transparent = image.to_rgba8();
    let opaque = RgbImage::from_fn(transparent.width(), transparent.height(), |x, y| {
        let [red, green, blue, alpha] = transparent.get_pixel(x, y).0;
        image::Rgb([red, green, blue].map(|colour| over_white(colour, alpha)))
    });
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, QUALITY).encode_image(&opaque).map_err(|_| Unfit::Unreadable)?;
    Ok(file.into())
}

fn over_white(colour: u8, alpha: u8) -> u8 {
    let (colour, alpha) = (u16::from(colour), u16::from(alpha));
    u8::try_from((colour * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
