//! Files of every kind, good and bad.

use std::io::Write as _;

use image::{
    ExtendedColorType, ImageEncoder as _, Rgba, RgbaImage, codecs::png::PngEncoder, codecs::webp::WebPEncoder,
};

use super::*;

/// A picture whose left half is red and whose right half is blue.
fn halves(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(
        width,
        height,
        |x, _| if x < width / 2 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 0, 255, 255]) },
    )
}

fn png(image: &RgbaImage) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(image, image.width(), image.height(), ExtendedColorType::Rgba8).unwrap();
    file
}

fn webp(image: &RgbaImage) -> Vec<u8> {
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file)
        .encode(image, image.width(), image.height(), ExtendedColorType::Rgba8)
        .unwrap();
    file
}

fn jpeg(image: &RgbaImage) -> Vec<u8> {
    let mut file = Vec::new();
    let rgb = DynamicImage::ImageRgba8(image.clone()).to_rgb8();
    JpegEncoder::new_with_quality(&mut file, 90).encode_image(&rgb).unwrap();
    file
}

/// The JPEG with an EXIF segment that says how it is turned, who took it and where.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02".to_vec();
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    exif.extend([0x01, 0x3b, 0, 2, 0, 0, 0, 12, 0, 0, 0, 38, 0, 0, 0, 0]);
    exif.extend(b"SecretPlace\0");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

fn decoded(file: &[u8]) -> RgbImage {
    image::load_from_memory_with_format(file, ImageFormat::Jpeg).unwrap().to_rgb8()
}

fn is_red(pixel: image::Rgb<u8>) -> bool {
    pixel.0[0] > 200 && pixel.0[2] < 60
}

#[test]
fn every_format_becomes_two_jpegs_that_are_no_larger_than_they_should_be() {
    let image = halves(1000, 400);
    for file in [png(&image), webp(&image), jpeg(&image)] {
        let scaled = scale(&file).unwrap();
        let (large, small) = (decoded(&scaled.large), decoded(&scaled.small));
        assert_eq!(large.dimensions(), (512, 205));
        assert!(small.width() == 96 && small.height() < 40, "{:?}", small.dimensions());
        assert!(is_red(*large.get_pixel(20, 100)) && !is_red(*large.get_pixel(490, 100)));
    }
    let tiny = scale(&png(&halves(8, 8))).unwrap();
    assert_eq!(decoded(&tiny.large).dimensions(), (8, 8), "nothing is enlarged");
}

#[test]
fn metadata_is_gone_but_the_picture_stands_upright() {
    // 6: to be turned by 90 degrees clockwise, so what is left comes to the top.
    let file = with_exif(&jpeg(&halves(200, 100)), 6);
    assert!(file.windows(11).any(|part| part == b"SecretPlace"));
    let scaled = scale(&file).unwrap();
    for part in [&scaled.large, &scaled.small] {
        assert!(
            !part.windows(11).any(|bytes| bytes == b"SecretPlace") && !part.windows(4).any(|bytes| bytes == b"Exif")
        );
    }
    let upright = decoded(&scaled.large);
    assert_eq!(upright.dimensions(), (100, 200));
    assert!(is_red(*upright.get_pixel(50, 20)) && !is_red(*upright.get_pixel(50, 180)));
}

#[test]
fn what_is_transparent_becomes_white() {
    let scaled = scale(&png(&RgbaImage::from_pixel(10, 10, Rgba([0, 0, 0, 0])))).unwrap();
    assert!(decoded(&scaled.large).pixels().all(|pixel| pixel.0.iter().all(|colour| *colour > 250)));
}

#[test]
fn a_file_that_has_lost_pixels_is_refused_in_every_format() {
    let image = RgbaImage::from_fn(300, 300, |x, y| Rgba([u8::try_from(x * y % 251).unwrap(), 7, 9, 255]));
    for file in [png(&image), webp(&image), jpeg(&image), with_exif(&jpeg(&image), 1)] {
        for length in [file.len() / 2, file.len() * 9 / 10, 12, 0] {
            assert_eq!(scale(&file[..length]).unwrap_err(), Unfit::Unreadable, "{length} of {}", file.len());
        }
    }
}

#[test]
fn what_is_no_picture_or_one_of_another_kind_is_refused() {
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;".to_vec();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec();
    for file in [gif, svg, b"%PDF-1.7".to_vec(), vec![0; 1000], vec![]] {
        assert_eq!(scale(&file).unwrap_err(), Unfit::Unreadable);
    }
}

#[test]
fn too_many_bytes_are_refused_unread() {
    assert_eq!(scale(&vec![0; MOST_BYTES + 1]).unwrap_err(), Unfit::TooLarge);
}

/// A PNG's chunk with its CRC.
fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in kind.iter().chain(data) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut chunk = Vec::new();
    chunk.write_all(&u32::try_from(data.len()).unwrap().to_be_bytes()).unwrap();
    chunk.write_all(&kind).unwrap();
    chunk.write_all(data).unwrap();
    chunk.write_all(&(!crc).to_be_bytes()).unwrap();
    chunk
}

/// A PNG of a hundred bytes that says it is so large.
fn announcing(side: u32, depth: u8) -> Vec<u8> {
    let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[depth, 6, 0, 0, 0]].concat();
    let data = [0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01];
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(*b"IHDR", &header), &chunk(*b"IDAT", &data), &chunk(*b"IEND", &[])].concat()
}

#[test]
fn a_bomb_is_refused_by_what_it_announces() {
    for (side, depth) in [(60_000, 8), (8_193, 8), (8_000, 8), (5_000, 16)] {
        assert_eq!(scale(&announcing(side, depth)).unwrap_err(), Unfit::TooLarge, "{side}x{side} of {depth} bits");
    }
    assert_eq!(scale(&announcing(100, 8)).unwrap_err(), Unfit::Unreadable, "one that is small enough has no pixels");
}

#[tokio::test]
async fn who_finds_the_line_full_is_refused() {
    let pictures = Pictures::default();
    let _all = pictures.places.clone().try_acquire_many_owned(u32::try_from(AT_ONCE + LINE).unwrap()).unwrap();
    assert!(matches!(pictures.scale(vec![]).await, Err(Error::PicturesBusy)));
}
